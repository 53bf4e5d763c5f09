"""What a disease test asks: the representations named, and the simple methods they must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.catalog import REPRESENTATIONS
from cellwright.errors import SettingsError
from cellwright.interfaces import CellView
from cellwright.representations.hvg import HighlyVariableGenes
from cellwright.representations.pca import PrincipalComponents
from cellwright.representations.technical import Depth
from cellwright.workflows.subject import Subject
from cellwright.workflows.views import Views, build_views

GENE_SETS = "gene-set score"
BESIDE = (HighlyVariableGenes.name, PrincipalComponents.name, Depth.name)
REFITTED = (*BESIDE, GENE_SETS)


def disease_views(
    subject: Subject,
    reps: Sequence[str],
    programs: Mapping[str, NDArray[np.int64]],
    *,
    seed: int = 0,
) -> tuple[Views, list[CellView]]:
    """The representations asked for, then variable genes, components, the gene-set score and depth.

    Raises
    ------
    SettingsError, DataError
        As :func:`~cellwright.workflows.views.build_views`; and for the gene-set score without genes.
    """
    named = [rep for rep in reps if rep != GENE_SETS]
    if GENE_SETS in reps and not programs:
        raise SettingsError(f"--rep {GENE_SETS!r} needs genes: name them with --up and --down")
    views = build_views(subject, named or [PrincipalComponents.name], beside=BESIDE, seed=seed)
    every = list(views)
    if programs:
        every.append(gene_set_view(subject, programs))
    return views, every


def gene_set_view(subject: Subject, programs: Mapping[str, NDArray[np.int64]]) -> CellView:
    """One number per program: mean over its genes of log counts, standardized in the fitted cells."""
    values = {state: _dense(subject, columns) for state, columns in programs.items()}

    def vectors(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = []
        for x_ng in values.values():
            mean_g, scale_g = x_ng[rows].mean(axis=0), x_ng[rows].std(axis=0)
            # A gene silent in the fitted cells has no scale and says nothing.
            scale_g = np.where(scale_g > 0, scale_g, np.inf)
            scores.append(((x_ng - mean_g) / scale_g).mean(axis=1))
        return np.stack(scores, axis=1).astype(np.float32)

    clean_n = np.full(subject.cells.n_obs, "clean")
    return CellView(GENE_SETS, vectors, clean_n, subject.cells.obs, True, True)


class ControlViews:
    """Views of many small cohorts: what is refitted is, and a run is loaded once."""

    def __init__(self, reps: Sequence[str], seed: int = 0) -> None:
        known = [r for r in reps if r in REPRESENTATIONS or Path(r).is_dir()]
        self.reps = tuple(dict.fromkeys(known))
        self.left_out = tuple(r for r in reps if r not in known and r != GENE_SETS)
        self._seed = seed
        self._runs: dict[str, Any] = {}

    def names(self) -> tuple[str, ...]:
        """The representations asked for that can answer for new cells, then the two simplest."""
        return tuple(dict.fromkeys([*map(self._name, self.reps), GENE_SETS, Depth.name]))

    def views(self, subject: Subject, programs: Mapping[str, NDArray[np.int64]]) -> list[CellView]:
        """The views of a cohort, in the order of ``names``."""
        catalog = [r for r in self.reps if r in REPRESENTATIONS]
        found = build_views(subject, [*catalog, Depth.name], beside=(), seed=self._seed)
        out = {view.name: replace(view, baseline=False) for view in found}
        out[GENE_SETS] = gene_set_view(subject, programs)
        for rep in self.reps:
            if rep not in REPRESENTATIONS:
                out[self._name(rep)] = self._of_run(rep, subject)
        return [out[name] for name in self.names()]

    def _name(self, rep: str) -> str:
        return rep if rep in REPRESENTATIONS else str(self._run(rep).name)

    def _run(self, rep: str) -> Any:
        if rep not in self._runs:
            # Here and not at the top: PyTorch takes seconds to import, and only a run needs it.
            from cellwright.representations import loading

            self._runs[rep] = loading.load(Path(rep))
        return self._runs[rep]

    def _of_run(self, rep: str, subject: Subject) -> CellView:
        kept: list[NDArray[np.float32]] = []

        def vectors(_: NDArray[np.int64]) -> NDArray[np.float32]:
            if not kept:
                kept.append(self._run(rep).transform(subject.slim))
            return kept[0]

        clean_n = np.full(subject.cells.n_obs, "clean")
        return CellView(self._name(rep), vectors, clean_n, subject.cells.obs)


def _dense(subject: Subject, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(subject.expression.values_ng[:, columns].toarray(), dtype=np.float64)
