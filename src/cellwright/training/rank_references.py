"""What no network needs to know: predictions of selected genes that a model on ranks has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.tokens.rank_masking import RankMaskRule
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.rank_frequencies import (
    DECILES,
    RankedCell,
    TokenCounts,
    masked_cells,
    token_counts,
)
from cellwright.training.ranked_batches import RankSource

_SMOOTHING = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# How many tokens of a decile the token frequency counts for.
_PRIORS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 1e6)
# exp(-20) is 2e-9: as good as never, yet finite in every number type.
_UNUSED = -20.0


@dataclass(frozen=True)
class RankReferences:
    """Perplexity and accuracy of simple predictions at the selected places of test cells.

    Attributes
    ----------
    perplexity
        exp of the mean negative log likelihood over all selected places, those left in place or
        swapped included; lower is better: ``uniform`` over the genes; ``token``, how often each
        gene is a token of training cells; ``token_decile``, that at the same tenth of the ranking;
        ``token_free``, ``token_decile_free``, these restricted to genes that the cell does not
        show at places that are not selected (each gene stands once), and knowing what the mask
        rule makes of the gene shown at a selected place.
    best
        Name of the lowest: the line a model is judged by.
    accuracy
        Share of selected places whose gene is the likeliest one under ``token_decile_free``
        (``majority``); higher is better.
    nll_n
        Summed negative log likelihood (nats) of each test cell under each reference.
    places_n
        Selected places of each test cell.
    log_frequencies_v
        (tokens,) float32, log of the smoothed token frequencies; -20 for what is no gene.
    chosen
        What was chosen on training cells: ``smoothing``, ``smoothing_free`` (counts added to each
        gene), ``prior``, ``prior_free`` (tokens that the frequency counts for in a decile).
    n_train, n_tune, n_test, n_places
        Training cells counted; those on which settings were chosen; test cells; selected places.
    """

    perplexity: dict[str, float]
    best: str
    accuracy: dict[str, float]
    nll_n: dict[str, NDArray[np.float64]]
    places_n: NDArray[np.int64]
    log_frequencies_v: NDArray[np.float32]
    chosen: dict[str, float]
    n_train: int
    n_tune: int
    n_test: int
    n_places: int


def rank_references(
    train: RankSource,
    test: RankSource,
    rule: RankMaskRule,
    vocabulary: RankVocabulary,
    seed: int = 0,
    *,
    max_train: int = 50_000,
    max_tune: int = 200,
) -> RankReferences:
    """Predict the selected genes of test cells without a network, from training cells alone.

    What has a setting chooses it on training cells, each left out of its own prediction; test
    cells, under the masks of validation, are only scored.

    Parameters
    ----------
    seed
        Of the masks, and for drawing cells where there are more than are looked at.
    max_train, max_tune
        Training cells counted, and those on which settings are chosen, at most.

    Raises
    ------
    DataError
        If no training cell or no test cell has a gene.
    """
    rng = np.random.default_rng(seed)
    rows = _draw(rng, np.arange(len(train)), max_train)
    counts = token_counts(train, rows, vocabulary)
    tune = list(masked_cells(train, _draw(rng, rows, max_tune), rule, vocabulary, seed))

    def tuned(
        pairs: list[tuple[float, float | None]], kind: int, settings: tuple[float, ...]
    ) -> float:
        """The setting whose (smoothing, prior) has the lowest loss of a kind, each cell left out."""
        return _chosen(
            [
                [_losses(counts, c, rule, *pair, left_out=True)[kind] for pair in pairs]
                for c in tune
            ],
            settings,
        )

    smoothing = tuned([(s, None) for s in _SMOOTHING], 0, _SMOOTHING)
    smoothing_free = tuned([(s, None) for s in _SMOOTHING], 1, _SMOOTHING)
    prior = tuned([(smoothing, p) for p in _PRIORS], 0, _PRIORS)
    prior_free = tuned([(smoothing_free, p) for p in _PRIORS], 1, _PRIORS)
    genes_g = vocabulary.token_ids_g
    p_kv = np.zeros((DECILES, vocabulary.n_tokens))
    p_kv[:, genes_g] = counts.probability(genes_g, smoothing_free, prior_free)
    order_kv = np.argsort(-p_kv, axis=1, kind="stable")
    names = ("uniform", "token", "token_decile", "token_free", "token_decile_free")
    nll_n = {name: np.zeros(len(test)) for name in names}
    places_n = np.zeros(len(test), dtype=np.int64)
    hits = 0
    for n, cell in enumerate(masked_cells(test, np.arange(len(test)), rule, vocabulary, seed)):
        places_n[n] = len(cell.chosen_m)
        nll_n["uniform"][n] = len(cell.chosen_m) * np.log(len(vocabulary))
        plain = _losses(counts, cell, rule, smoothing, None)[0]
        decile = _losses(counts, cell, rule, smoothing, prior)[0]
        free = _losses(counts, cell, rule, smoothing_free, None)[1]
        decile_free = _losses(counts, cell, rule, smoothing_free, prior_free)[1]
        for name, value in zip(names[1:], (plain, decile, free, decile_free), strict=True):
            nll_n[name][n] = value
        hits += _hits(cell, rule, p_kv, order_kv)
    places = int(places_n.sum())
    if places == 0:
        raise DataError(
            f"not one of the {len(test)} test cells has a gene of the vocabulary, so there is "
            "nothing to predict"
        )
    perplexity = {name: float(np.exp(nll.sum() / places)) for name, nll in nll_n.items()}
    log_v = np.full(vocabulary.n_tokens, _UNUSED, dtype=np.float32)
    log_v[genes_g] = np.log(counts.probability(genes_g, smoothing, None)[0])
    return RankReferences(
        perplexity=perplexity,
        best=min(perplexity, key=lambda name: perplexity[name]),
        accuracy={"majority": hits / places},
        nll_n=nll_n,
        places_n=places_n,
        log_frequencies_v=log_v,
        chosen={
            "smoothing": smoothing,
            "smoothing_free": smoothing_free,
            "prior": prior,
            "prior_free": prior_free,
        },
        n_train=len(rows),
        n_tune=len(tune),
        n_test=len(test),
        n_places=places,
    )


def _losses(
    counts: TokenCounts,
    cell: RankedCell,
    rule: RankMaskRule,
    smoothing: float,
    prior: float | None,
    *,
    left_out: bool = False,
) -> tuple[float, float]:
    """Summed loss of the selected genes: as the frequencies are, and with what the cell shows."""
    if not len(cell.chosen_m):
        return 0.0, 0.0
    own = cell if left_out else None
    p_kt = counts.probability(cell.genes_t, smoothing, prior, own)
    k_m = cell.deciles_t[cell.chosen_m]
    truth_m = p_kt[k_m, cell.chosen_m]
    left_k = np.maximum(1.0 - p_kt[:, cell.others_t].sum(axis=1), 1e-12)
    free_m = np.minimum(truth_m / left_k[k_m], 1.0)
    # A gene shown at a selected place was left or put there: Bayes' rule. One that the cell also
    # shows elsewhere was put there, which says nothing.
    told = np.flatnonzero((cell.shown_m >= 0) & ~np.isin(cell.shown_m, cell.genes_t[cell.others_t]))
    shown_kx = counts.probability(cell.shown_m[told], smoothing, prior, own)
    shown_x = shown_kx[k_m[told], np.arange(told.size)] / left_k[k_m[told]]
    swap = rule.swapped / counts.genes
    right_x = cell.shown_m[told] == cell.genes_t[cell.chosen_m[told]]
    free_m[told] *= (rule.kept * right_x + swap) / (rule.kept * shown_x + swap)
    return float(-np.log(truth_m).sum()), float(-np.log(free_m).sum())


def _hits(
    cell: RankedCell, rule: RankMaskRule, p_kv: NDArray[np.float64], order_kv: NDArray[np.int64]
) -> int:
    """Selected places whose gene is the likeliest one that the cell does not show elsewhere."""
    if not len(cell.chosen_m):
        return 0
    taken_v = np.zeros(p_kv.shape[1], dtype=np.bool_)
    taken_v[cell.genes_t[cell.others_t]] = True
    k_m = cell.deciles_t[cell.chosen_m]
    # Of so many genes one is free.
    front_kx = order_kv[:, : len(cell.genes_t) + 1]
    best_k = np.take_along_axis(front_kx, np.argmin(taken_v[front_kx], axis=1)[:, None], axis=1)
    guess_m = best_k[k_m, 0]
    told = np.flatnonzero(cell.shown_m >= 0)
    told = told[~taken_v[cell.shown_m[told]]]
    swap = rule.swapped / int((p_kv[0] > 0).sum())
    own_x = p_kv[k_m[told], cell.shown_m[told]] * (rule.kept + swap)
    other_x = p_kv[k_m[told], guess_m[told]] * swap
    guess_m[told] = np.where(own_x >= other_x, cell.shown_m[told], guess_m[told])
    return int((guess_m == cell.genes_t[cell.chosen_m]).sum())


def _chosen(losses_nx: list[list[float]], settings: tuple[float, ...]) -> float:
    """The setting of the lowest loss over all cells."""
    return settings[int(np.sum(losses_nx, axis=0).argmin())]


def _draw(rng: np.random.Generator, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
