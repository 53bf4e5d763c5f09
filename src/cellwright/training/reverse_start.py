"""Where a network of the reverse problem starts: at a linear forward model of its training cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from cellwright.training.reverse_groups import ReverseCells

# Of the variance that directions of noise are divided by, in mean variances of a gene.
FLOOR = 2.0
DIRECTIONS = 50
# Cells that noise is measured on, about.
MOST_CELLS = 4000


@dataclass(frozen=True)
class LinearStart:
    """A code of shifts in which the effects of genes lie.

    code = project_dg @ shift - common_d; code_cd: of each candidate, 0 for one never perturbed
    in training.
    """

    project_dg: NDArray[np.float32]
    common_d: NDArray[np.float32]
    code_cd: NDArray[np.float32]


def linear_start(cells: ReverseCells, width: int) -> LinearStart:
    """Effects of genes in the space of their first ``width`` singular vectors.

    A query is told by them as in the space of genes, but that directions in which cells vary
    whatever was perturbed count for less.
    """
    calm_gg = _calming(cells)
    known = cells.effects
    effect_mg = calm_gg(known.effect_mg.astype(np.float64))
    _, _, direction_dg = np.linalg.svd(effect_mg, full_matrices=False)
    project_dg = direction_dg[:width]
    code_md = effect_mg @ project_dg.T
    # The lengths of codes count only beside each other.
    code_cd = np.zeros((cells.candidates, len(project_dg)))
    code_cd[known.known_m] = code_md / max(float(np.sqrt((code_md**2).sum(axis=1).mean())), 1e-12)
    return LinearStart(
        calm_gg(project_dg).astype(np.float32),
        (project_dg @ calm_gg(known.common_g.astype(np.float64))).astype(np.float32),
        code_cd.astype(np.float32),
    )


def _calming(cells: ReverseCells) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The symmetric map that divides directions of noise by its spread there beside a floor.

    Noise is how cells of one condition differ. The floor, in mean variances of a gene, keeps genes
    that are all but silent, and directions that few cells show, from being blown up.
    """
    rng = np.random.default_rng(0)
    parts = []
    each = max(2, MOST_CELLS // len(cells.train_p))
    for code in cells.train_p.tolist():
        rows = cells.rows_p[code]
        x = cells.expression_ng[rng.permutation(rows)[:each]].toarray()
        parts.append(x - x.mean(axis=0))
    apart = np.vstack(parts)
    most = min(DIRECTIONS, *apart.shape)
    freedom = max(len(apart) - len(parts), 1)
    total = float((apart.astype(np.float64) ** 2).sum()) / freedom
    if not total > 0 or most < 1:
        return lambda x_qg: x_qg
    found = TruncatedSVD(n_components=most, random_state=0).fit(apart)
    variance_d = found.singular_values_.astype(np.float64) ** 2 / freedom
    rest = max(total - float(variance_d.sum()), 0.0) / apart.shape[1]
    floor = FLOOR * total / apart.shape[1]
    less_d = 1 - np.sqrt((rest + floor) / (np.maximum(variance_d, rest) + floor))
    direction_dg = found.components_.astype(np.float64)
    return lambda x_qg: x_qg - (x_qg @ direction_dg.T * less_d) @ direction_dg
