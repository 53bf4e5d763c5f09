"""Masks of ranked cells: counts in closed form, shares within what chance allows, independence."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.tokens.masking import cell_keys
from cellwright.tokens.rank_masking import RankMaskRule, mask_ranks

PAD, MASK, CLS, EOS = range(4)
GENES = np.arange(4, 504)


def _cells(lengths, seed=0, framed=True):
    """Cells of distinct random genes, between <cls> and <eos>."""
    rng = np.random.default_rng(seed)
    parts = []
    for length in lengths:
        genes = rng.choice(GENES, length, replace=False)
        parts.append(np.concatenate([[CLS], genes, [EOS]]) if framed else genes)
    ids = np.concatenate(parts).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    return ids, offsets, cell_keys(f"cell{i}" for i in range(len(lengths)))


def test_that_each_cell_has_its_share_selected_and_special_tokens_never():
    lengths = [0, 1, 2, 3, 10, 100, 333, 500]
    ids, offsets, keys = _cells(lengths)
    found = mask_ranks(RankMaskRule(), ids, offsets, keys, GENES, MASK, epoch=3, seed=1)
    # floor(0.15 n + 0.5), at least one.
    assert np.bincount(found.cells_m, minlength=8).tolist() == [0, 1, 1, 1, 2, 15, 50, 75]
    assert (found.truth_m >= 4).all()
    assert (found.truth_m == ids[found.targets_m]).all()
    assert (np.searchsorted(offsets, found.targets_m, side="right") - 1 == found.cells_m).all()
    untouched = np.setdiff1d(np.arange(len(ids)), found.targets_m)
    assert (found.shown_t[untouched] == ids[untouched]).all()
    assert not np.isin(found.shown_t[found.targets_m], [PAD, CLS, EOS]).any()


def test_that_eight_in_ten_are_masked_one_swapped_and_one_kept():
    ids, offsets, keys = _cells([400] * 300)
    found = mask_ranks(RankMaskRule(), ids, offsets, keys, GENES, MASK, epoch=0, seed=0)
    shown, m = found.shown_t[found.targets_m], len(found.targets_m)
    assert m == 300 * 60
    hidden, kept = (shown == MASK).mean(), (shown == found.truth_m).mean()
    # Five standard errors; a swap draws the gene itself once in 500 times.
    assert abs(hidden - 0.8) < 5 * np.sqrt(0.16 / m)
    assert abs(kept - (0.1 + 0.1 / 500)) < 5 * np.sqrt(0.09 / m)
    drawn = shown[(shown != MASK) & (shown != found.truth_m)]
    counts = np.bincount(drawn, minlength=504)[4:]
    expected = len(drawn) / 500
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - 499) < 5 * np.sqrt(2 * 499)


def test_that_every_place_is_selected_equally_often():
    ids, offsets, keys = _cells([40])
    places = np.zeros(42)
    for epoch in range(2000):
        found = mask_ranks(RankMaskRule(), ids, offsets, keys, GENES, MASK, epoch=epoch, seed=5)
        places[found.targets_m] += 1
    assert places[[0, 41]].tolist() == [0, 0]
    # Six of forty each time.
    spread = np.sqrt(2000 * 0.15 * 0.85)
    assert np.abs(places[1:41] - 300).max() < 5 * spread


def test_that_a_mask_depends_on_seed_epoch_and_cell_alone():
    lengths = [50, 120, 80]
    ids, offsets, keys = _cells(lengths)
    rule = RankMaskRule()
    whole = mask_ranks(rule, ids, offsets, keys, GENES, MASK, epoch=2, seed=7)
    order = [2, 0, 1]
    parts = [ids[offsets[i] : offsets[i + 1]] for i in order]
    other = mask_ranks(
        rule,
        np.concatenate(parts),
        np.concatenate([[0], np.cumsum([len(p) for p in parts])]),
        keys[order],
        GENES,
        MASK,
        epoch=2,
        seed=7,
    )
    again = np.split(other.shown_t, np.cumsum([len(p) for p in parts])[:-1])
    for place, i in enumerate(order):
        assert (again[place] == whole.shown_t[offsets[i] : offsets[i + 1]]).all()
    for how in ({"epoch": 3, "seed": 7}, {"epoch": 2, "seed": 8}):
        assert (
            mask_ranks(rule, ids, offsets, keys, GENES, MASK, **how).shown_t != whole.shown_t
        ).any()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"share": 1.5}, "1.5"),
        ({"hidden": -0.2}, "-0.2"),
        ({"hidden": 0.9, "swapped": 0.3}, "1.2"),
    ],
)
def test_that_an_impossible_rule_is_refused(how, words):
    with pytest.raises(SettingsError, match=words):
        RankMaskRule(**how)


def test_that_a_key_is_needed_for_each_cell():
    ids, offsets, keys = _cells([5, 5])
    with pytest.raises(DataError, match="1 cell keys were given for 2 cells"):
        mask_ranks(RankMaskRule(), ids, offsets, keys[:1], GENES, MASK, epoch=0, seed=0)
    with pytest.raises(DataError, match="token -3"):
        mask_ranks(RankMaskRule(), ids * 0 - 3, offsets, keys, GENES, MASK, epoch=0, seed=0)
