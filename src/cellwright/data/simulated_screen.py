"""Screens with planted truth: counts of control cells, single and double perturbations.

Every condition is drawn from random streams of its own, a thousand cells at a time, so that the
cells of one do not depend on which others are there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from cellwright.data.atomic import refuse_existing
from cellwright.data.screen_settings import ScreenSettings, screen_settings
from cellwright.data.screen_truth import ScreenTruth, plant_screen, stream
from cellwright.data.writing import write_cells
from cellwright.errors import DataError, SettingsError

_CELL_STREAM = 2
_BLOCK = 1000


def simulate_screen(
    settings: ScreenSettings | str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> AnnData:
    """A simulated perturbation screen with raw counts in ``X`` and the truth beside them.

    Parameters
    ----------
    settings
        :class:`ScreenSettings`, or the name of a preset (``plain``, ``norman``); default the first.
    progress
        Called with the number of cells drawn since the last call.

    Returns
    -------
    AnnData
        ``X``: float32 CSR of whole numbers. ``obs``: ``condition`` (``A``, ``A+B``, ``control``),
        ``batch``, ``guide``, ``truth_acting`` (the targets whose guide acts in this cell),
        ``truth_depth``. ``var`` (by id): ``gene_symbol``, ``is_target``, ``truth_share``,
        ``truth_theta``. ``varm["truth_effects"]``: log fold of each target alone.
        ``uns["truth"]``: settings, targets and what the doubles do, as JSON.

    Raises
    ------
    SettingsError
        For an unknown preset or settings that cannot work.
    """
    if settings is None or isinstance(settings, str):
        settings = screen_settings(settings or "plain")
    truth = plant_screen(settings)
    tables: list[pd.DataFrame] = []
    counts: list[sparse.csr_matrix] = []
    for number, targets in enumerate(truth.conditions):
        for table, block in _drawn(truth, number, targets):
            tables.append(table)
            counts.append(block)
            if progress is not None:
                progress(len(table))
    obs = pd.concat(tables, ignore_index=True)
    obs.index = pd.Index([f"cell_{i:07d}" for i in range(1, len(obs) + 1)], name="cell")
    own = set(truth.own_t.tolist())
    var = pd.DataFrame(
        {
            "gene_symbol": truth.symbols_g,
            "is_target": [i in own for i in range(len(truth.symbols_g))],
            "truth_share": truth.share_g.astype(np.float32),
            "truth_theta": truth.theta_g.astype(np.float32),
        },
        index=pd.Index(truth.ids_g, name="gene_id"),
    )
    facts = {
        "settings": dataclasses.asdict(settings),
        "targets": list(truth.names_t),
        "doubles": {truth.name(pair): truth.interaction(*pair) for pair in truth.doubles},
    }
    return AnnData(
        sparse.vstack(counts, format="csr"),
        obs=obs,
        var=var,
        varm={"truth_effects": truth.effect_tg.T.astype(np.float32)},
        uns={"truth": json.dumps(facts)},
    )


def simulate_screen_to_file(
    path: Path | str,
    settings: ScreenSettings | str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Write a simulated screen to an .h5ad; its ``obs`` is returned.

    Raises
    ------
    SettingsError, RunError, DataError
        As :func:`simulate_screen`; if ``path`` exists and ``force`` is False; if it cannot be
        written.
    """
    if Path(path).suffix == ".zarr":
        raise SettingsError(f"{path} is a .zarr, but screens are written as .h5ad")
    refuse_existing(path, force=force)
    cells = simulate_screen(settings, progress=progress)
    write_cells(cells, path, force=force)
    return cells.obs


def truth_of(cells: AnnData) -> ScreenTruth:
    """The whole truth that a simulated screen (a view or subset will do) was drawn from.

    Raises
    ------
    DataError
        If ``cells`` are no simulated screen.
    """
    facts = json.loads(cells.uns["truth"]) if "truth" in cells.uns else {}
    if "targets" not in facts:
        raise DataError("no uns['truth'] of a screen: these cells are no screen simulated here")
    return plant_screen(ScreenSettings(**facts["settings"]))


def _drawn(
    truth: ScreenTruth, number: int, targets: Sequence[int]
) -> Iterator[tuple[pd.DataFrame, sparse.csr_matrix]]:
    """The cells of one condition, block by block."""
    s = truth.settings
    size = s.cells if targets else s.controls
    for block, start in enumerate(range(0, size, _BLOCK)):
        n = min(_BLOCK, size - start)
        # Conditions of one and two targets by their genes: another list of doubles leaves them.
        key = tuple(targets) or (s.targets,)
        rng = stream(s.seed, _CELL_STREAM, len(targets), *key, block)
        batch_n = (np.arange(n) + start) % s.batches
        guide_nt = rng.integers(s.guides, size=(n, max(len(targets), 1)))
        acts_nt = np.zeros((n, len(targets)), dtype=bool)
        for i, t in enumerate(targets):
            acts_nt[:, i] = rng.random(n) < truth.efficiency_tu[t, guide_nt[:, i]]
        spread = s.depth_spread
        # Mean 1, so that depth stays the mean number of counts.
        depth_n = truth.depth * np.exp(rng.normal(0, spread, n) - spread**2 / 2)
        log_ng = np.log(truth.share_g) + truth.batch_bg[batch_n]
        log_ng += rng.normal(0, 1, (n, s.cell_programs)) @ truth.loadings_pg
        state_n = acts_nt @ (1 << np.arange(len(targets)))
        acting = []
        for state in range(1 << len(targets)):
            here = tuple(t for i, t in enumerate(targets) if state >> i & 1)
            log_ng[state_n == state] += truth.log_fold(here)
            acting.append(truth.name(here) if here else "")
        mean_ng = depth_n[:, None] * np.exp(log_ng)
        rate_ng = mean_ng * rng.standard_gamma(np.broadcast_to(truth.theta_g, mean_ng.shape))
        counts_ng = rng.poisson(rate_ng / truth.theta_g)
        guides = [_guide(truth, targets, row) for row in guide_nt]
        table = pd.DataFrame(
            {
                "condition": truth.name(targets),
                "batch": [f"batch_{b + 1}" for b in batch_n],
                "guide": guides,
                "truth_acting": [acting[state] for state in state_n],
                "truth_depth": depth_n.astype(np.float32),
            }
        )
        yield table, sparse.csr_matrix(counts_ng, dtype=np.float32)


def _guide(truth: ScreenTruth, targets: Sequence[int], guides: NDArray[np.int64]) -> str:
    if not targets:
        return f"control_{guides[0] + 1}"
    named = zip(targets, guides.tolist(), strict=True)
    return "+".join(sorted(f"{truth.names_t[t]}_{u + 1}" for t, u in named))
