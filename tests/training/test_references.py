"""References against closed forms, planted truths and plain loops."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellwright.errors import DataError
from cellwright.interfaces import RowBlock
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.masking import MaskRule, cell_keys, mask, masking_probability
from cellwright.training.references import References, references

RULE = MaskRule()


def judged(
    train: np.ndarray,
    test: np.ndarray,
    n_bins: int,
    rule: MaskRule = RULE,
    nonzero: tuple[np.ndarray, np.ndarray] | None = None,
    **settings: int,
) -> References:
    present = (train > 0, test > 0) if nonzero is None else nonzero
    masked = masks_of(test, present[1], rule)
    used = np.full(train.shape[1], n_bins)
    return references(train, present[0], test, present[1], masked, rule, used, 0, **settings)


def masks_of(test: np.ndarray, nonzero: np.ndarray, rule: MaskRule) -> np.ndarray:
    return mask(rule, nonzero, cell_keys([f"test-{i}" for i in range(len(test))]), 0, 0)


def test_independent_genes_have_the_perplexity_of_their_entropy() -> None:
    rng = np.random.default_rng(0)
    frequencies = rng.dirichlet(np.full(6, 2.0), 80)
    cells = np.stack([rng.choice(6, 5000, p=frequencies[g]) for g in range(80)], axis=1).astype(
        np.uint8
    )
    everything = (np.ones((4000, 80), bool), np.ones((1000, 80), bool))
    found = judged(cells[:4000], cells[4000:], 6, nonzero=everything)
    entropy = -(frequencies * np.log(frequencies)).sum(axis=1).mean()
    limit = float(np.exp(entropy))
    # 12,000 masked positions: the standard error of the mean is about 0.005 nats.
    assert found.perplexity["unigram"] == pytest.approx(limit, rel=0.02)
    assert found.perplexity["unigram_masked"] == pytest.approx(found.perplexity["unigram"], 1e-3)
    assert found.perplexity["uniform"] == pytest.approx(6.0, rel=1e-12)
    # There is nothing more to know, so nothing may seem to know it.
    for name in ("unigram_depth", "nearest_cells"):
        assert 0.99 < found.perplexity[name] / found.perplexity["unigram"] < 1.02
    assert found.accuracy["majority"] == pytest.approx(frequencies.max(axis=1).mean(), abs=0.02)
    expected = np.log(frequencies)
    np.testing.assert_allclose(found.log_bin_frequencies_gk, expected, atol=0.35)
    assert found.n_masked == 12_000


def test_the_unigram_under_the_rule_has_its_closed_form() -> None:
    # Every gene is on with probability 0.1 and then in one of four bins; half of the masked are on.
    rng = np.random.default_rng(1)
    cells = rng.integers(1, 5, (2500, 200)) * (rng.random((2500, 200)) < 0.1)
    cells = cells.astype(np.uint8)
    found = judged(cells[:2000], cells[2000:], 5, MaskRule(0.1, 0.5))
    masked = np.exp(-0.5 * np.log(0.5) - 0.5 * np.log(0.5 / 4))
    plain = np.exp(-0.5 * np.log(0.9) - 0.5 * np.log(0.1 / 4))
    assert found.perplexity["unigram_masked"] == pytest.approx(masked, rel=0.02)
    assert found.perplexity["unigram"] == pytest.approx(plain, rel=0.02)
    assert found.best in {"unigram_masked", "unigram_depth", "nearest_cells"}


def test_where_depth_decides_the_bins_depth_predicts_them() -> None:
    rng = np.random.default_rng(2)
    depth = rng.random(900)
    # A gene is on with the cell's depth; an on gene's bin is the third of the depths it is in.
    cells = np.where(
        rng.random((900, 150)) < 0.2 + 0.7 * depth[:, None], 1 + (3 * depth[:, None]).astype(int), 0
    ).astype(np.uint8)
    found = judged(cells[:700], cells[700:], 4, MaskRule(0.15, 1.0))
    # All masked are on, so one knows the depth but for the noise of the number of genes on:
    # the best possible is the posterior of the third given that number, by integration.
    grid = (np.arange(3000) + 0.5) / 3000
    likelihood = stats.binom.pmf(np.arange(151)[:, None], 150, 0.2 + 0.7 * grid)
    joint = likelihood.reshape(151, 3, 1000).sum(axis=2) / 3000
    optimum = np.exp(-(joint * np.log(joint / joint.sum(axis=1, keepdims=True))).sum())
    assert found.perplexity["unigram_masked"] > 2.5
    assert found.perplexity["unigram_depth"] == pytest.approx(optimum, rel=0.08)
    assert found.best in {"unigram_depth", "nearest_cells"}


def test_where_cells_are_clones_their_neighbours_predict_them() -> None:
    rng = np.random.default_rng(3)
    clones = np.stack([rng.permutation(np.repeat(np.arange(5), 24)) for _ in range(20)])
    which = rng.integers(0, 20, 700)
    cells = clones[which]
    noisy = rng.random(cells.shape) < 0.1
    cells = np.where(noisy, rng.integers(0, 5, cells.shape), cells).astype(np.uint8)
    everything = (np.ones((500, 120), bool), np.ones((200, 120), bool))
    found = judged(cells[:500], cells[500:], 5, nonzero=everything)
    p = np.array([0.92, 0.02, 0.02, 0.02, 0.02])
    optimum = float(np.exp(-(p * np.log(p)).sum()))
    assert found.best == "nearest_cells"
    assert optimum * 0.97 < found.perplexity["nearest_cells"] < optimum * 1.25
    assert found.perplexity["unigram_depth"] > 4
    assert found.chosen["nearest_neighbors"] <= 40


@pytest.fixture(scope="module")
def small() -> tuple[np.ndarray, np.ndarray, np.ndarray, References]:
    rng = np.random.default_rng(4)
    depth = rng.gamma(3.0, 0.3, (90, 1))
    cells = np.minimum(rng.poisson(depth * rng.gamma(1.0, 2.0, 40)), 4).astype(np.uint8)
    train, test = cells[:60], cells[60:]
    used = np.full(40, 5)
    used[3] = 1
    cells[:, 3] = 0
    masked = masks_of(test, test > 0, RULE)
    found = references(train, train > 0, test, test > 0, masked, RULE, used, 0, n_values=7)
    return train, test, masked, found


def test_depth_equals_a_plain_loop(small) -> None:
    train, test, masked, found = small
    p = masking_probability(RULE, train > 0)
    of_masked = mask(RULE, train > 0, np.arange(60, dtype=np.uint64), 0, 0)
    visible = ((train > 0) & ~of_masked).sum(axis=1)
    prior, width = found.chosen["depth_prior"], found.chosen["depth_bandwidth"]
    total = 0.0
    for n, gene in zip(*np.nonzero(masked), strict=True):
        distance = ((test[n] > 0) & ~masked[n]).sum() - visible
        weight = np.exp(-0.5 * ((distance / width) ** 2 - np.min((distance / width) ** 2)))
        hits = (weight * p[:, gene])[train[:, gene] == test[n, gene]].sum()
        of_all = np.exp(found.log_bin_frequencies_gk[gene, test[n, gene]].astype(float))
        total -= np.log((hits + prior * of_all) / ((weight * p[:, gene]).sum() + prior))
    assert np.log(found.perplexity["unigram_depth"]) == pytest.approx(total / masked.sum(), 1e-5)


def test_nearest_equals_a_plain_loop(small) -> None:
    train, test, masked, found = small
    p = masking_probability(RULE, train > 0)
    scale = np.where(np.arange(40) == 3, 1, 4)
    mean = (train / scale).mean(axis=0)
    prior, k = found.chosen["nearest_prior"], int(found.chosen["nearest_neighbors"])
    total = 0.0
    for n in range(len(test)):
        seen = ~masked[n]
        ours = (test[n] / scale - mean)[seen]
        theirs = (train / scale - mean)[:, seen]
        cosine = theirs @ ours / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours)
        near = np.argsort(-cosine)[:k]
        for gene in np.flatnonzero(masked[n]):
            weight = p[near, gene]
            hits = weight[train[near, gene] == test[n, gene]].sum()
            of_all = np.exp(found.log_bin_frequencies_gk[gene, test[n, gene]].astype(float))
            total -= np.log((hits + prior * of_all) / (weight.sum() + prior))
    assert np.log(found.perplexity["nearest_cells"]) == pytest.approx(total / masked.sum(), 1e-5)


def test_unigrams_equal_a_plain_loop_and_choose_the_best_smoothing(small) -> None:
    train, test, masked, found = small
    used = np.where(np.arange(40) == 3, 1, 5)
    of_rule = masking_probability(RULE, train > 0)
    for name, chosen, weight in (
        ("unigram", "smoothing", np.ones(train.shape)),
        ("unigram_masked", "smoothing_masked", of_rule),
    ):
        loss = {}
        for smoothing in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
            loss[smoothing] = 0.0
            for n in range(60):
                others = np.arange(60) != n
                for gene in range(40):
                    w = weight[others, gene]
                    hits = w[train[others, gene] == train[n, gene]].sum() + smoothing
                    share = hits / (w.sum() + smoothing * used[gene])
                    loss[smoothing] -= weight[n, gene] * np.log(share)
        assert min(loss, key=loss.get) == found.chosen[chosen]
        smoothing = found.chosen[chosen]
        total = 0.0
        for n, gene in zip(*np.nonzero(masked), strict=True):
            w = weight[:, gene]
            hits = w[train[:, gene] == test[n, gene]].sum() + smoothing
            total -= np.log(hits / (w.sum() + smoothing * used[gene]))
        assert np.log(found.perplexity[name]) == pytest.approx(total / masked.sum(), rel=1e-9)


def test_uniform_counts_the_bins_in_use(small) -> None:
    _, _, masked, found = small
    expected = np.log(np.where(np.arange(40) == 3, 1, 5))[np.nonzero(masked)[1]].mean()
    assert np.log(found.perplexity["uniform"]) == pytest.approx(expected, rel=1e-12)


def test_output_bias_is_a_distribution_over_the_bins_in_use(small) -> None:
    log = small[3].log_bin_frequencies_gk
    assert log.shape == (40, 7)
    assert log.dtype == np.float32
    assert (log[:, 5:] == -20).all()
    assert (log[3, 1:] == -20).all()
    np.testing.assert_allclose(np.exp(log[:, :5]).sum(axis=1), 1, rtol=1e-5)


def test_majority_is_the_most_frequent_bin_under_the_rule(small) -> None:
    train, test, masked, found = small
    p = masking_probability(RULE, train > 0)
    top = [np.bincount(train[:, g], p[:, g], minlength=5).argmax() for g in range(40)]
    rows, genes = np.nonzero(masked)
    right = np.array(top)[genes] == test[rows, genes]
    zero = test[rows, genes] == 0
    assert found.accuracy["majority"] == pytest.approx(right.mean())
    assert found.accuracy["majority_zero"] == pytest.approx(right[zero].mean())
    assert found.accuracy["majority_nonzero"] == pytest.approx(right[~zero].mean())


def test_cells_are_scored_each_on_its_own(small) -> None:
    train, test, masked, found = small
    used = np.where(np.arange(40) == 3, 1, 5)
    some = np.array([7, 2, 21])
    alone = references(
        train, train > 0, test[some], test[some] > 0, masked[some], RULE, used, 0, n_values=7
    )
    assert alone.chosen == found.chosen
    for name, nll_n in found.nll_n.items():
        np.testing.assert_allclose(alone.nll_n[name], nll_n[some], rtol=1e-5)
        # Every cell has as many masked genes, so the mean of means is the mean.
        assert np.exp(nll_n.mean()) == pytest.approx(found.perplexity[name])


def test_the_same_seed_gives_the_same_references(small) -> None:
    train, test, masked, found = small
    used = np.where(np.arange(40) == 3, 1, 5)
    again = references(train, train > 0, test, test > 0, masked, RULE, used, 0, n_values=7)
    assert again.perplexity == found.perplexity


def test_caps_are_kept_and_said() -> None:
    rng = np.random.default_rng(5)
    cells = rng.integers(0, 4, (500, 30)).astype(np.uint8)
    found = judged(cells[:400], cells[400:], 4, max_train=100, max_tune=30)
    assert (found.n_train, found.n_train_nearest, found.n_tune) == (400, 100, 30)
    assert found.n_test == 100
    whole = judged(cells[:400], cells[400:], 4)
    assert whole.perplexity["nearest_cells"] == pytest.approx(
        found.perplexity["nearest_cells"], rel=0.05
    )


@pytest.mark.parametrize(("n_train", "genes"), [(1, 30), (2, 2), (40, 1), (40, 30)])
def test_tiny_data(n_train: int, genes: int) -> None:
    cells = np.random.default_rng(6).integers(0, 3, (n_train + 10, genes)).astype(np.uint8)
    found = judged(cells[:n_train], cells[n_train:], 3)
    assert all(np.isfinite(v) and v >= 1 for v in found.perplexity.values())


def test_cells_of_equal_depth_and_a_cell_without_masked_genes() -> None:
    cells = np.tile(np.array([0, 1, 2, 3], dtype=np.uint8), (50, 5))
    masked = np.zeros((10, 20), bool)
    masked[1:, 3] = True
    used = np.full(20, 4)
    found = references(cells, cells > 0, cells[:10], cells[:10] > 0, masked, RULE, used)
    assert np.isnan(found.nll_n["unigram"][0])
    assert found.perplexity["unigram_depth"] < 1.1
    assert "majority_zero" not in found.accuracy


def test_bad_input() -> None:
    cells = np.ones((5, 3), np.uint8)
    on, used = cells > 0, np.full(3, 2)
    with pytest.raises(DataError, match=r"test_mask_ng has shape \(5, 2\), expected \(5, 3\)"):
        references(cells, on, cells, on, on[:, :2], RULE, used)
    with pytest.raises(DataError, match="not one position of the 5 test cells"):
        references(cells, on, cells, on, ~on, RULE, used)
    with pytest.raises(DataError, match="0 were given"):
        references(cells[:0], on[:0], cells, on, on, RULE, used)
    with pytest.raises(DataError, match="gene 1 has bin 7 in a test cell, but only 2"):
        wrong = cells.copy()
        wrong[2, 1] = 7
        references(cells, on, wrong, on, on, RULE, used)


def test_published_neurons(real_data) -> None:
    """The bins, split and mask rule of neurons-2025 on its own cells.

    Known there: 6.71 with add-one smoothing over all 20 ids and 6.41 under the masking rule,
    6.1 to 6.25 with depth. Smoothing over the bins in use and a chosen bandwidth lower all three.
    """
    atlas = ad.read_h5ad(real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad")
    names = atlas.obs_names.to_numpy().astype(str)
    counts = sp.csr_matrix(atlas.X)
    order = np.arange(1152)
    np.random.RandomState(42).shuffle(order)  # the published split
    fit, held = order[:922], order[922:]
    tokenizer = BinnedTokenizer(20, 1e4, True, zero_bin=False)
    tokenizer.fit([RowBlock(counts[fit], names[fit], fit)])
    train, test = tokenizer.bins(counts[fit]), tokenizer.bins(counts[held])
    masked = mask(RULE, test > 0, cell_keys(names[held]), 0, 42)
    found = references(
        train, train > 0, test, test > 0, masked, RULE, tokenizer.n_bins_g, 42, n_values=20
    )
    assert found.perplexity["unigram"] == pytest.approx(6.71, abs=0.1)
    assert found.perplexity["unigram_masked"] == pytest.approx(6.41, abs=0.1)
    assert 5.8 < found.perplexity["unigram_depth"] < 6.25
    assert 5.7 < found.perplexity["nearest_cells"] < found.perplexity["unigram_depth"]
    assert found.n_masked == 230 * 300
    # The known figure itself, by its own smoothing.
    rows, genes = np.nonzero(masked)
    counted = np.stack([(train == k).sum(axis=0) for k in range(20)], axis=1)
    known = (counted[genes, test[rows, genes]] + 1) / (922 + 20)
    assert np.exp(-np.log(known).mean()) == pytest.approx(6.71, abs=0.02)
