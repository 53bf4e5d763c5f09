"""Where a network of the reverse problem starts: at a linear forward model of its training cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from cellwright.training.reverse_groups import ReverseCells

# Added to the variance of every gene, in mean variances of a gene.
FLOOR = 0.5
# In which genes vary together; what is left of a gene's variance is its own.
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

    A query is told by them as in the space of genes, but that genes, and directions, in which cells
    vary whatever was perturbed count for less.
    """
    whiten, spread_g = _whitening(cells)
    known = cells.effects
    effect_mg = whiten(known.effect_mg / spread_g)
    _, _, direction_dg = np.linalg.svd(effect_mg, full_matrices=False)
    project_dg = direction_dg[:width]
    code_md = effect_mg @ project_dg.T
    # The lengths of codes count only beside each other.
    code_cd = np.zeros((cells.candidates, len(project_dg)))
    code_cd[known.known_m] = code_md / max(float(np.sqrt((code_md**2).sum(axis=1).mean())), 1e-12)
    return LinearStart(
        (whiten(project_dg) / spread_g).astype(np.float32),
        (project_dg @ whiten(known.common_g / spread_g)).astype(np.float32),
        code_cd.astype(np.float32),
    )


def _whitening(
    cells: ReverseCells,
) -> tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], NDArray[np.float64]]:
    """The map after which noise is alike in all directions, and what each gene is divided by before.

    Noise is how cells of one condition differ. Its covariance is taken for that of a few directions
    and of each gene by itself; the floor keeps genes that are all but silent from being blown up. The
    map is symmetric.
    """
    rng = np.random.default_rng(0)
    parts = []
    each = max(2, MOST_CELLS // len(cells.train_p))
    for code in cells.train_p.tolist():
        rows = cells.rows_p[code]
        x = cells.expression_ng[rng.permutation(rows)[:each]].toarray()
        parts.append(x - x.mean(axis=0))
    apart = np.vstack(parts).astype(np.float64)
    most = min(DIRECTIONS, *apart.shape)
    freedom = max(len(apart) - len(parts), 1)
    variance_g = (apart**2).sum(axis=0) / freedom
    if not variance_g.sum() > 0:
        return lambda x_qg: x_qg, np.ones(apart.shape[1])
    found = TruncatedSVD(n_components=most, random_state=0).fit(apart)
    shared_dg = found.components_ * (found.singular_values_ / np.sqrt(freedom))[:, None]
    own_g = np.maximum(variance_g - (shared_dg**2).sum(axis=0), 0)
    spread_g = np.sqrt(own_g + FLOOR * variance_g.mean())
    # Divided by this, noise is 1 in every direction and more in those that genes share.
    _, length_d, direction_dg = np.linalg.svd(shared_dg / spread_g, full_matrices=False)
    less_d = 1 - 1 / np.sqrt(1 + length_d**2)
    spread_g /= np.sqrt((spread_g**2).mean())  # how long codes are counts for nothing
    return lambda x_qg: x_qg - (x_qg @ direction_dg.T * less_d) @ direction_dg, spread_g
