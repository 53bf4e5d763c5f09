"""Batches depend on seed, epoch and cell, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellwright.tokens.masking import MaskRule, mask
from cellwright.training.batches import (
    VALIDATION_EPOCH,
    BinnedCells,
    batches_per_epoch,
    training_batches,
    validation_batches,
)

RULE = MaskRule(0.2, 0.5, "bin")


def drawn(cells, **changes):
    settings = {"batch_size": 8, "epoch": 0, "seed": 0} | changes
    return list(training_batches(cells, RULE, **settings))


def as_rows(batch):
    """Each cell of a batch with its mask, as bytes that can be counted."""
    both = torch.cat([batch.value_ids_ng, batch.hidden_ng.long()], dim=1).numpy().astype(np.uint8)
    return sorted(row.tobytes() for row in both)


def everything(batches):
    return sorted(row for batch in batches for row in as_rows(batch))


def test_a_batch_holds_bins_mask_targets_and_truth(cells):
    for batch in drawn(cells):
        n, m = batch.targets_nm.shape
        assert m == RULE.n_masked(cells.bins_ng.shape[1])
        assert batch.hidden_ng.sum() == n * m
        assert batch.hidden_ng.gather(1, batch.targets_nm).all()
        assert torch.equal(batch.value_ids_ng.gather(1, batch.targets_nm), batch.truth_nm)


def test_every_cell_once_per_epoch(cells):
    seen = np.concatenate([b.value_ids_ng.numpy() for b in drawn(cells)])
    assert sorted(map(bytes, seen.astype(np.uint8))) == sorted(map(bytes, cells.bins_ng))
    assert [len(b.value_ids_ng) for b in drawn(cells)] == [8, 8, 8, 8, 5]
    assert batches_per_epoch(len(cells), 8) == 5


def test_masks_do_not_depend_on_the_batch_size(cells):
    expected = everything(drawn(cells, batch_size=37))
    for batch_size in (1, 5, 8, 100):
        assert everything(drawn(cells, batch_size=batch_size)) == expected


def test_the_masks_are_those_of_the_rule(cells):
    hidden_ng = mask(RULE, cells.bins_ng > 0, cells.keys_n, 3, 7)
    both = np.concatenate([cells.bins_ng, hidden_ng.astype(np.uint8)], axis=1)
    assert everything(drawn(cells, epoch=3, seed=7)) == sorted(row.tobytes() for row in both)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_the_processes_together_see_the_batches_of_one(cells, world):
    alone = drawn(cells)
    ranks = [drawn(cells, rank=rank, world=world) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {len(alone)}
    for number, batch in enumerate(alone):
        parts = [batches[number] for batches in ranks]
        assert sum(part.share for part in parts) == pytest.approx(1, abs=1e-12)
        counted = [part for part in parts if part.share > 0]
        assert everything(counted) == as_rows(batch)
        for part in counted:
            assert part.share == pytest.approx(len(part.value_ids_ng) / len(batch.value_ids_ng))


def test_more_processes_than_cells_repeat_one_at_no_weight(cells):
    last = [drawn(cells, rank=rank, world=8)[-1] for rank in range(8)]
    assert [part.share > 0 for part in last] == [True] * 5 + [False] * 3
    assert all(len(part.value_ids_ng) == 1 for part in last)


def test_shares_make_the_mean_over_all_cells(cells):
    """What three processes average is the mean loss of the batch, here of the truth itself."""
    (alone,) = drawn(cells, batch_size=37)
    parts = [drawn(cells, batch_size=37, rank=rank, world=3)[0] for rank in range(3)]
    together = sum(part.truth_nm.double().mean() * part.share for part in parts)
    assert together.item() == pytest.approx(alone.truth_nm.double().mean().item(), abs=1e-12)


def test_an_epoch_goes_on_where_it_stopped(cells):
    for ours, theirs in zip(drawn(cells, first=2), drawn(cells)[2:], strict=True):
        assert torch.equal(ours.value_ids_ng, theirs.value_ids_ng)
        assert torch.equal(ours.hidden_ng, theirs.hidden_ng)


def test_seed_and_epoch_change_order_and_masks(cells):
    first = drawn(cells)
    again = drawn(cells)
    assert [as_rows(b) for b in first] == [as_rows(b) for b in again]
    for changed in (drawn(cells, epoch=1), drawn(cells, seed=1)):
        assert not torch.equal(changed[0].value_ids_ng, first[0].value_ids_ng)
        assert everything(changed) != everything(first)


def test_validation_masks_are_fixed(cells):
    def held(batch_size, seed=0):
        batches = list(validation_batches(cells, RULE, batch_size=batch_size, seed=seed))
        return np.concatenate([b.hidden_ng.numpy() for b in batches])

    np.testing.assert_array_equal(held(8), held(37))
    np.testing.assert_array_equal(
        held(8), mask(RULE, cells.bins_ng > 0, cells.keys_n, VALIDATION_EPOCH, 0)
    )
    assert (held(8) != held(8, seed=1)).any()
    # A cell keeps its mask among other cells.
    some = BinnedCells(cells.bins_ng[5:9], None, cells.keys_n[5:9])
    (batch,) = validation_batches(some, RULE, batch_size=8, seed=0)
    np.testing.assert_array_equal(batch.hidden_ng.numpy(), held(8)[5:9])


def test_nonzero_by_count_may_differ_from_nonzero_by_bin(cells):
    nonzero_ng = np.zeros(cells.bins_ng.shape, dtype=bool)
    nonzero_ng[:, :6] = True
    by_count = BinnedCells(cells.bins_ng, nonzero_ng, cells.keys_n)
    rule = MaskRule(0.25, 1.0, "count")
    (batch,) = training_batches(by_count, rule, batch_size=37, epoch=0, seed=0)
    assert batch.hidden_ng[:, :6].all() and not batch.hidden_ng[:, 6:].any()
