"""Masks: how many, drawn how, and the same whatever stands around the cell."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError, SettingsError
from cellwright.tokens.masking import (
    MaskRule,
    cell_keys,
    mask,
    masking_probability,
    masking_probability_of_kinds,
)

WORD = 2**64


def splitmix(x: int) -> int:
    z = (x + 0x9E3779B97F4A7C15) % WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def plain_mask(rule: MaskRule, nonzero: np.ndarray, name: str, epoch: int, seed: int) -> np.ndarray:
    """One cell with Python integers: sort the genes of each kind by their random number."""
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    stream = splitmix(key ^ splitmix(seed ^ splitmix(epoch)))
    g = nonzero.size
    # splitmix adds the constant once more than the counter does.
    number = [splitmix((stream + i * 0x9E3779B97F4A7C15) % WORD) for i in range(g)]
    total = min(max(1, int(rule.share * g + 0.5)), max(1, g - 1))
    wanted = int(rule.nonzero_share * total + 0.5)
    order = sorted(range(g), key=lambda i: number[i])
    kinds = [[i for i in order if nonzero[i] == k] for k in (False, True)]
    of_nonzero = min(wanted, len(kinds[1]))
    of_zero = min(total - of_nonzero, len(kinds[0]))
    out = np.zeros(g, dtype=bool)
    out[kinds[0][:of_zero] + kinds[1][: total - of_zero]] = True
    return out


@pytest.fixture(scope="module")
def nonzero() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.random((40, 300)) < rng.random((40, 1))
    found[0], found[1] = True, False
    found[2], found[3] = np.arange(300) < 5, np.arange(300) >= 5
    return found


NAMES = [f"cell-{i}" for i in range(40)]


@pytest.mark.parametrize("rule", [MaskRule(), MaskRule(0.4, 0.9), MaskRule(0.15, 0.0)])
@pytest.mark.parametrize(("epoch", "seed"), [(0, 0), (7, 42), (3, -1)])
def test_masks_equal_a_plain_loop(
    nonzero: np.ndarray, rule: MaskRule, epoch: int, seed: int
) -> None:
    found = mask(rule, nonzero, cell_keys(NAMES), epoch, seed)
    for n, name in enumerate(NAMES):
        np.testing.assert_array_equal(
            found[n], plain_mask(rule, nonzero[n], name, epoch, seed % WORD)
        )


def test_masks_do_not_depend_on_batch_or_order(nonzero: np.ndarray) -> None:
    rule, keys = MaskRule(), cell_keys(NAMES)
    whole = mask(rule, nonzero, keys, 2, 5)
    for size in (1, 3, 16):
        parts = [
            mask(rule, nonzero[i : i + size], keys[i : i + size], 2, 5) for i in range(0, 40, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(mask(rule, nonzero[order], keys[order], 2, 5), whole[order])


def test_numpy_integers_are_the_same_seeds(nonzero: np.ndarray) -> None:
    keys = cell_keys(NAMES)
    found = mask(MaskRule(), nonzero, keys, np.int64(3), np.int32(-2))
    np.testing.assert_array_equal(found, mask(MaskRule(), nonzero, keys, 3, -2))


def test_seed_epoch_and_cell_each_change_the_mask(nonzero: np.ndarray) -> None:
    rule, keys = MaskRule(), cell_keys(NAMES)
    row = nonzero[10:11]
    first = mask(rule, row, keys[:1], 0, 0)
    others = [(keys[:1], 1, 0), (keys[:1], 0, 1), (keys[1:2], 0, 0)]
    for key, epoch, seed in others:
        shared = (first & mask(rule, row, key, epoch, seed)).sum()
        assert shared < 20  # 45 masked of 300: 6.75 in common by chance


@pytest.mark.parametrize("genes", [1, 2, 3, 5, 10, 299, 300])
@pytest.mark.parametrize("share", [0.01, 0.15, 0.5, 0.99])
def test_the_number_masked_is_the_share_rounded(genes: int, share: float) -> None:
    rule = MaskRule(share)
    nonzero = np.random.default_rng(0).random((30, genes)) < 0.5
    found = mask(rule, nonzero, cell_keys(NAMES[:30]), 0, 0).sum(axis=1)
    expected = min(max(1, int(share * genes + 0.5)), max(1, genes - 1))
    assert set(found) == {expected} == {rule.n_masked(genes)}


def test_half_come_from_nonzero_genes_and_shortages_are_filled(nonzero: np.ndarray) -> None:
    found = mask(MaskRule(), nonzero, cell_keys(NAMES), 0, 0)
    of_nonzero = (found & nonzero).sum(axis=1)
    assert of_nonzero[0] == 45
    assert of_nonzero[1] == 0
    assert of_nonzero[2] == 5
    assert of_nonzero[3] == 40
    plenty = (nonzero.sum(axis=1) >= 45) & ((~nonzero).sum(axis=1) >= 45)
    assert plenty.sum() > 20
    # Half of 45 rounded half up is 23.
    assert set(of_nonzero[plenty]) == {23}


@pytest.mark.parametrize("rule", [MaskRule(0.2, 0.5), MaskRule(0.2, 0.8)])
def test_frequencies_equal_the_closed_form(rule: MaskRule) -> None:
    rng = np.random.default_rng(4)
    nonzero = np.stack([rng.random(60) < p for p in (0.1, 0.5, 0.9)])
    n_epochs = 8000
    keys = cell_keys(NAMES[:3])
    counts = np.zeros(nonzero.shape)
    together = np.zeros((60, 60))
    for epoch in range(n_epochs):
        drawn = mask(rule, nonzero, keys, epoch, 0)
        counts += drawn
        together += np.outer(drawn[1], drawn[1])
    p = masking_probability(rule, nonzero)
    np.testing.assert_allclose(p.sum(axis=1), rule.n_masked(60), rtol=1e-12)
    # Chi-square of the frequencies within each kind of each cell, by its closed-form variance.
    free = (p > 0) & (p < 1)
    z = (counts[free] - n_epochs * p[free]) / np.sqrt(n_epochs * p[free] * (1 - p[free]))
    assert np.abs(z).max() < 4.5
    assert np.mean(z**2) == pytest.approx(1.0, abs=0.3)
    np.testing.assert_array_equal(counts[p == 1], n_epochs)
    # Without replacement: two nonzero genes are masked together as often as a hypergeometric says.
    some = np.flatnonzero(nonzero[1])
    total, k = len(some), round(p[1, some[0]] * len(some))
    pairs = together[np.ix_(some, some)][np.triu_indices(total, 1)] / n_epochs
    assert pairs.mean() == pytest.approx(k * (k - 1) / (total * (total - 1)), rel=1e-9)
    spread = np.sqrt(pairs.mean() * (1 - pairs.mean()) / n_epochs)
    assert pairs.std() == pytest.approx(spread, rel=0.2)


def test_probability_of_kinds_is_that_of_each_gene(nonzero: np.ndarray) -> None:
    rule = MaskRule(0.3, 0.7)
    p = masking_probability(rule, nonzero)
    if_nonzero, if_zero = masking_probability_of_kinds(rule, nonzero.sum(axis=1), 300)
    for n in range(40):
        assert set(p[n][nonzero[n]]) <= {if_nonzero[n]}
        assert set(p[n][~nonzero[n]]) <= {if_zero[n]}


def test_nonzero_by_bin_and_by_count() -> None:
    bins = np.array([[0, 0, 2]], dtype=np.uint8)
    counts = np.array([[0, 1, 5]])
    assert MaskRule().nonzero_of(bins).tolist() == [[False, False, True]]
    by_count = MaskRule(nonzero="count")
    for given in (counts, sp.csr_matrix(counts)):
        assert by_count.nonzero_of(bins, given).tolist() == [[False, True, True]]
    with pytest.raises(DataError, match="counts"):
        by_count.nonzero_of(bins)


def test_cell_keys_are_stable_and_distinct() -> None:
    assert cell_keys(["a", "b"]).tolist() == [
        int.from_bytes(hashlib.blake2b(c, digest_size=8).digest(), "little") for c in (b"a", b"b")
    ]
    assert len(set(cell_keys([str(i) for i in range(20_000)]).tolist())) == 20_000
    assert cell_keys(np.array(["ä"])).dtype == np.uint64
    assert cell_keys([]).shape == (0,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"share": 0.0}, "share is 0.0"),
        ({"share": 1.0}, "share is 1.0"),
        ({"share": float("nan")}, "share is nan"),
        ({"nonzero_share": 1.5}, "nonzero_share is 1.5"),
        ({"nonzero": "value"}, "'value'"),
    ],
)
def test_rules_that_cannot_work(settings: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        MaskRule(**settings)


def test_bad_input() -> None:
    with pytest.raises(DataError, match=r"\(3, 0\)"):
        mask(MaskRule(), np.zeros((3, 0), bool), cell_keys(NAMES[:3]), 0, 0)
    with pytest.raises(DataError, match="2 cell keys were given for 3 cells"):
        mask(MaskRule(), np.zeros((3, 4), bool), cell_keys(NAMES[:2]), 0, 0)


def test_rules_say_what_they_do() -> None:
    assert MaskRule().words == "0.15 of the genes masked, 0.5 of them from bins above the lowest"
    assert "counts above 0" in MaskRule(nonzero="count").words
