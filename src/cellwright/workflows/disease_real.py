"""A real shift beside the simulated one: the same pipeline on both, and both in one latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray
from scipy import stats

from cellwright.errors import DataError
from cellwright.evaluation.disease_classifiers import FAST, TrainingSpace, fit_state_classifier
from cellwright.evaluation.disease_designs import DESIGNS, Cohort
from cellwright.evaluation.disease_state import DiseaseState
from cellwright.evaluation.ranking import roc_auc
from cellwright.interfaces import CellView, Check, Score
from cellwright.representations.technical import Depth
from cellwright.workflows.disease_cells import read_cohort
from cellwright.workflows.disease_views import ControlViews, disease_views
from cellwright.workflows.pictures import Picture, picture
from cellwright.workflows.subject import Subject

_PARTS = 20  # of the delete-a-group jackknife


@dataclass(frozen=True)
class RealShift:
    """What the real cells scored, and how the two shifts lie to each other.

    scores: of the real cells alone. shifts: per representation and simulated state the cosine of
    its shift with the real one (1: the same direction) with a 95 % jackknife interval over cells, their lengths (in standard deviations of
    normal cells), and the AUC of a classifier that learned on simulated cells and names real ones
    of other donors. picture: both cohorts in one latent, with ``labels_n``.
    """

    name: str
    scores: tuple[Score, ...]
    shifts: tuple[dict[str, Any], ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    picture: Picture | None = None
    labels_n: NDArray[np.str_] = field(default_factory=lambda: np.array([], dtype=str))


def real_shift(
    simulated: tuple[Subject, Cohort],
    source: AnnData | Path | str,
    state_column: str,
    *,
    normals: tuple[str, str],
    reps: Sequence[str],
    programs: Mapping[str, NDArray[np.int64]],
    views: ControlViews,
    task: DiseaseState,
    donor: str | None,
    donor_pattern: str | None,
) -> RealShift:
    """Put real cells through the pipeline of ``task``, and both shifts into one latent space.

    Parameters
    ----------
    normals
        The normal state of the simulated and of the real cells.
    programs
        Columns of the scored genes in the simulated file; they are looked up by name.

    Raises
    ------
    DataError
        As for the cells of the test; or if the files share no gene.
    """
    name = "the real cells" if isinstance(source, AnnData) else Path(source).stem
    subject, cohort, checks = read_cohort(
        source,
        state_column=state_column,
        normal=normals[1],
        donor=donor,
        donor_pattern=donor_pattern,
        assume_counts=simulated[0].assume_counts,
    )
    genes = {
        state: np.asarray(simulated[0].cells.var_names, dtype=str)[columns]
        for state, columns in programs.items()
    }
    here = {
        state: np.flatnonzero(np.isin(np.asarray(subject.cells.var_names, dtype=str), wanted))
        for state, wanted in genes.items()
    }
    here = {state: columns for state, columns in here.items() if len(columns)}
    new = [rep for rep in reps if not rep.startswith(("obsm:", "file:"))]
    own = replace(task, cohort=cohort, normal=normals[1], question="perturbed", designs=DESIGNS)
    _, every = disease_views(subject, new, here, seed=task.seed)
    found = own.judge([a for view in every for a in own.predict(view)])
    rows, drawn, label_n = shifts(
        simulated, (subject, cohort), normals, views, genes, seed=task.seed
    )
    return RealShift(
        name,
        found.scores,
        tuple(rows),
        tuple(
            Check(c.name, c.severity, f"Real cells: {c.sentence}", c.remedy)
            for c in (*checks, *found.checks)
        ),
        tuple(_said(row) for row in rows),
        drawn,
        label_n,
    )


def _said(row: Mapping[str, Any]) -> str:
    line = (
        f"{row['rep']}: the simulated shift of {row['state']!r} and the real one have a cosine of "
        f"{row['cosine']:.2f} [{row['low']:.2f}, {row['high']:.2f}], lengths {row['length']:.2f} "
        f"and {row['real_length']:.2f}"
    )
    if row["transfer_auc"] is None:
        return f"{line}."
    return (
        f"{line}; learned on simulated cells it names real ones of other donors with an AUC of "
        f"{row['transfer_auc']:.2f}."
    )


def together(
    simulated: tuple[Subject, Cohort], real: tuple[Subject, Cohort]
) -> tuple[Subject, NDArray[np.str_], NDArray[np.bool_]]:
    """Both cohorts on the genes they share: cells, their state, and which are real.

    Raises
    ------
    DataError
        If they share no gene.
    """
    one, other = simulated[0].slim, real[0].slim
    genes = one.var_names.intersection(other.var_names)
    if not len(genes):
        raise DataError(
            "the simulated and the real cells share no gene: they are called "
            f"{', '.join(map(str, one.var_names[:3]))} and {', '.join(map(str, other.var_names[:3]))}"
        )
    parts = []
    for mark, cells in (("simulated", one), ("real", other)):
        part = AnnData(
            sp.csr_matrix(cells[:, genes].X),
            obs=pd.DataFrame(index=pd.Index([f"{mark}|{name}" for name in cells.obs_names])),
            var=one.var.loc[genes],
        )
        parts.append(part)
    joint = ad.concat(parts, merge="same")
    states = [np.asarray(c.classes)[c.state_codes_n] for _, c in (simulated, real)]
    real_n = np.repeat([False, True], [len(s) for s in states])
    return Subject(joint, sp.csr_matrix(joint.X)), np.concatenate(states), real_n


def shifts(
    simulated: tuple[Subject, Cohort],
    real: tuple[Subject, Cohort],
    normals: tuple[str, str],
    views: ControlViews,
    programs: Mapping[str, NDArray[np.str_]],
    *,
    seed: int = 0,
) -> tuple[list[dict[str, Any]], Picture | None, NDArray[np.str_]]:
    """Directions and transfer in every representation that can take both files.

    What is refitted (components, variable genes) is fitted on the normal cells of both. Vectors are
    scaled by the spread of these cells before directions are compared.

    Parameters
    ----------
    programs
        Names of the scored genes of each program.
    """
    subject, state_n, real_n = together(simulated, real)
    normal_n = np.where(real_n, state_n == normals[1], state_n == normals[0])
    names = {str(g): i for i, g in enumerate(subject.cells.var_names)}
    columns = {
        state: np.array([names[g] for g in genes if g in names], dtype=np.int64)
        for state, genes in programs.items()
    }
    columns = {state: found for state, found in columns.items() if len(found)}
    donor_n = _donors(simulated[1], real[1])
    fit_rows = np.flatnonzero(normal_n)
    label_n = np.where(
        real_n, np.char.add("real ", state_n), np.char.add("simulated ", state_n)
    ).astype(np.str_)
    rows, drawn = [], None
    for view in views.views(subject, columns):
        x = np.asarray(view.vectors(fit_rows), dtype=np.float64)
        # Depth and a score of one program have no direction to speak of.
        if x.shape[1] < 2 or view.name == Depth.name:
            continue
        spread_d = x[fit_rows].std(axis=0)
        x = x / np.where(spread_d > 0, spread_d, np.inf)
        for state in simulated[1].classes:
            if state == normals[0]:
                continue
            groups = (
                x[~real_n & (state_n == state)],
                x[~real_n & normal_n],
                x[real_n & ~normal_n],
                x[real_n & normal_n],
            )
            rows.append(
                {
                    "rep": view.name,
                    "state": state,
                    **_directions(groups, seed),
                    **_transfer(x, state_n, real_n, normal_n, donor_n, state, view, seed),
                }
            )
        if drawn is None:
            drawn = picture(view.name, x, label_n, "umap", seed=seed)
    return rows, drawn, label_n


def _directions(groups: Sequence[NDArray[np.float64]], seed: int) -> dict[str, Any]:
    def shift(parts: Sequence[NDArray[np.float64]]) -> tuple[float, float, float]:
        a = parts[0].mean(axis=0) - parts[1].mean(axis=0)
        b = parts[2].mean(axis=0) - parts[3].mean(axis=0)
        length_a, length_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
        product = length_a * length_b
        return (float(a @ b) / product if product > 0 else 0.0), length_a, length_b

    cosine, own, other = shift(groups)
    # Resampled cells would add noise of their own, which turns shifts apart; left-out ones do not.
    rng = np.random.default_rng(seed)
    part_of = [rng.permutation(len(part)) % _PARTS for part in groups]
    cosines = np.array(
        [
            shift([part[of != left] for part, of in zip(groups, part_of, strict=True)])[0]
            for left in range(_PARTS)
        ]
    )
    spread = (_PARTS - 1) / _PARTS * float(((cosines - cosines.mean()) ** 2).sum())
    reach = float(stats.t.ppf(0.975, _PARTS - 1)) * float(np.sqrt(spread))
    low, high = max(cosine - reach, -1.0), min(cosine + reach, 1.0)
    return {
        "cosine": cosine,
        "low": low,
        "high": high,
        "length": own,
        "real_length": other,
    }


def _transfer(
    x: NDArray[np.float64],
    state_n: NDArray[np.str_],
    real_n: NDArray[np.bool_],
    normal_n: NDArray[np.bool_],
    donor_n: NDArray[np.str_] | None,
    state: str,
    view: CellView,
    seed: int,
) -> dict[str, Any]:
    """AUC over real cells of classifiers that learned on simulated cells of other donors."""
    if donor_n is None:
        return {"transfer_auc": None}
    learned_n = ~real_n & (normal_n | (state_n == state))
    score_n = np.full(len(x), np.nan)
    for donor in np.unique(donor_n[real_n]):
        train = np.flatnonzero(learned_n & (donor_n != donor))
        test = np.flatnonzero(real_n & (donor_n == donor))
        codes = (~normal_n[train]).astype(np.int64)
        if len(np.unique(codes)) < 2:
            return {"transfer_auc": None}
        space = TrainingSpace.of(x[train], name=f"the vectors of {view.name}")
        fitted = fit_state_classifier(FAST, space, codes, ("normal", state), seed=seed)
        score_n[test] = fitted.probability(x[test])[:, 1]
    known = np.isfinite(score_n)
    value = float(roc_auc(score_n[known], ~normal_n[known], np.ones(int(known.sum()))))
    return {"transfer_auc": value}


def _donors(simulated: Cohort, real: Cohort) -> NDArray[np.str_] | None:
    if simulated.donor_n is None or real.donor_n is None:
        return None
    shared = np.intersect1d(simulated.donor_n, real.donor_n)
    # Without a common donor there is nothing to hold out, and a cell may be its own twin.
    if len(shared) < 2:
        return None
    return np.concatenate([simulated.donor_n, real.donor_n])
