"""The forward direction: the shift of expression that a perturbation is predicted to bring about.

The simple predictors that networks have not surpassed (Ahlmann-Eltze, Huber and Anders 2025,
doi:10.1038/s41592-025-02772-6): no change, the mean of training shifts, sums of single shifts, and
a linear model between two embeddings; beside them the ridge regression of one effect per gene that
``reverse benchmark`` inverts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.queries import Queries
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_additive import linear_effects, single_effects

# Components and penalty of the linear model, as published.
COMPONENTS = 10
RIDGE = 0.1

Predict = Callable[[NDArray[np.bool_]], NDArray[np.float64]]


@dataclass(frozen=True)
class ForwardTraining:
    """What predictors are fitted on.

    whole: one query for each training condition; control_g: mean expression of controls; own_c:
    column of each candidate's own gene, -1 where it is not measured.
    """

    screen: Screen
    whole: Queries
    control_g: NDArray[np.float64]
    own_c: NDArray[np.int64]


@dataclass(frozen=True)
class ForwardModel:
    """A fitted predictor.

    predict: from (q, c), True for the genes perturbed, to the predicted shift (q, g) in log
    expression; known_c: candidates of which the model knows something. Of the others it predicts
    what it predicts of no gene in particular.
    """

    name: str
    predict: Predict
    known_c: NDArray[np.bool_]


def _no_change(training: ForwardTraining) -> ForwardModel:
    """Expression stays as in controls."""
    genes, c = training.whole.shift_qg.shape[1], len(training.own_c)
    return ForwardModel(
        "no-change", lambda targets_qc: np.zeros((len(targets_qc), genes)), np.ones(c, dtype=bool)
    )


def _mean(training: ForwardTraining) -> ForwardModel:
    """The mean shift of the training conditions, whatever is perturbed."""
    mean_g = training.whole.shift_qg.mean(axis=0, dtype=np.float64)
    return ForwardModel(
        "mean",
        lambda targets_qc: np.tile(mean_g, (len(targets_qc), 1)),
        np.ones(len(training.own_c), dtype=bool),
    )


def _additive(training: ForwardTraining) -> ForwardModel:
    """The sum of the shifts of its genes alone; a gene not seen alone counts as their mean."""
    found = single_effects(training.whole, training.screen)
    effect_cg = np.tile(found.mean_g, (len(training.own_c), 1))
    effect_cg[found.known_m] = found.effect_mg
    known_c = np.zeros(len(training.own_c), dtype=bool)
    known_c[found.known_m] = True
    return ForwardModel(
        "additive", lambda targets_qc: targets_qc.astype(np.float64) @ effect_cg, known_c
    )


def _effects(training: ForwardTraining) -> ForwardModel:
    """A common shift and one effect for each gene, by ridge regression on all conditions."""
    found = linear_effects(training.whole, training.screen)
    effect_cg = np.zeros((len(training.own_c), len(found.mean_g)))
    effect_cg[found.known_m] = found.effect_mg
    known_c = np.zeros(len(training.own_c), dtype=bool)
    known_c[found.known_m] = True
    return ForwardModel(
        "effects",
        lambda targets_qc: found.mean_g + targets_qc.astype(np.float64) @ effect_cg,
        known_c,
    )


def _linear(training: ForwardTraining) -> ForwardModel:
    """The published linear model: both embeddings from the components of training expression.

    Principal components of genes over training conditions and controls are the embedding of
    genes; the embedding of a perturbation is that of its measured gene, of a double their sum.
    """
    measured = training.own_c >= 0
    expression_gp = np.column_stack(
        [training.whole.mean_qg.T.astype(np.float64), training.control_g]
    )
    gene_gk = gene_components(expression_gp)
    embedding_ck = np.where(measured[:, None], gene_gk[training.own_c], 0.0)
    targets = training.screen.targets_pc[training.whole.condition_q].astype(np.float64)
    shift_gp = training.whole.shift_qg.T.astype(np.float64)
    weight_kl, centre_g = bilinear(shift_gp, gene_gk, targets @ embedding_ck)
    return ForwardModel(
        "linear",
        lambda targets_qc: (
            centre_g + targets_qc.astype(np.float64) @ embedding_ck @ weight_kl.T @ gene_gk.T
        ),
        measured,
    )


def gene_components(
    expression_gp: NDArray[np.float64], components: int = COMPONENTS
) -> NDArray[np.float64]:
    """Principal component scores of genes over conditions, (g, k); columns are centred."""
    centred = expression_gp - expression_gp.mean(axis=0)
    left, value, _ = np.linalg.svd(centred, full_matrices=False)
    k = min(components, len(value))
    return np.asarray(left[:, :k] * value[:k])


def bilinear(
    shift_gp: NDArray[np.float64],
    gene_gk: NDArray[np.float64],
    perturbation_pl: NDArray[np.float64],
    ridge: float = RIDGE,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W and b of ``shift = G W Pᵀ + b``, with a ridge on either side and b the mean of each gene.

    W = (GᵀG + λI)⁻¹ Gᵀ (shift - b) P (PᵀP + λI)⁻¹.

    Returns
    -------
    W (k, l) and b (g,).
    """
    centre_g: NDArray[np.float64] = shift_gp.mean(axis=1)
    middle = gene_gk.T @ (shift_gp - centre_g[:, None]) @ perturbation_pl
    left = gene_gk.T @ gene_gk + ridge * np.eye(gene_gk.shape[1])
    right = perturbation_pl.T @ perturbation_pl + ridge * np.eye(perturbation_pl.shape[1])
    weight_kl = np.linalg.solve(right, np.linalg.solve(left, middle).T).T
    return weight_kl.astype(np.float64), centre_g


_FITS: Mapping[str, Callable[[ForwardTraining], ForwardModel]] = MappingProxyType(
    {
        "no-change": _no_change,
        "mean": _mean,
        "additive": _additive,
        "linear": _linear,
        "effects": _effects,
    }
)
FORWARD_METHODS: tuple[str, ...] = tuple(_FITS)


def check_forward_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once, or an error that names the nearest.

    Raises
    ------
    SettingsError
        For an unknown predictor.
    """
    for name in names:
        if name not in _FITS:
            close = nearest(name, FORWARD_METHODS)
            raise SettingsError(
                f"no method {name!r}: "
                + (f"did you mean {close!r}?" if close else f"known: {', '.join(FORWARD_METHODS)}")
            )
    return tuple(dict.fromkeys(names))


def fit_forward(name: str, training: ForwardTraining) -> ForwardModel:
    """Fit one of :data:`FORWARD_METHODS` on training conditions.

    Raises
    ------
    SettingsError
        For an unknown predictor.
    """
    check_forward_methods([name])
    return _FITS[name](training)


def most_expressed(
    control_g: NDArray[np.float64], number: int, allowed_g: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Columns of the genes with the highest mean in controls, in order of columns.

    Parameters
    ----------
    allowed_g
        Genes that may be taken; default all.

    Raises
    ------
    DataError
        If no gene may be taken.
    SettingsError
        If ``number`` is below 1.
    """
    if number < 1:
        raise SettingsError(f"the number of most expressed genes is {number}, expected 1 or more")
    allowed = np.arange(len(control_g)) if allowed_g is None else np.flatnonzero(allowed_g)
    if not len(allowed):
        raise DataError("no measured gene is left to compare predictions on")
    order = np.argsort(-control_g[allowed], kind="stable")
    return np.sort(allowed[order[:number]]).astype(np.int64)
