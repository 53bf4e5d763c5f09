"""Which cells a run has seen: by their counts, and by their names where counts cannot tell."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from cellwright.errors import RunError
from cellwright.training.fitted_cells import FittedCells

NAMES = np.array(["a", "b", "c", "d"])
PARTS = np.array(["train", "val", "test", "train"])
HASHES = np.array([1, 2, 3, 2**64 - 1], dtype=np.uint64)


@pytest.fixture
def fitted():
    return FittedCells(NAMES, PARTS, HASHES)


def seen(fitted, names, hashes, same_genes=True):
    return fitted.seen(np.array(names), np.array(hashes, dtype=np.uint64), same_genes=same_genes)


def test_train_and_val_cells_are_seen_and_test_cells_are_not(fitted):
    found = fitted.seen(NAMES, HASHES, same_genes=True)
    assert found.tolist() == ["seen-unlabelled", "seen-unlabelled", "clean", "seen-unlabelled"]


def test_a_copy_under_another_name_is_seen(fitted):
    assert seen(fitted, ["elsewhere"], [1]).tolist() == ["seen-unlabelled"]


def test_one_name_with_other_counts_is_another_cell(fitted):
    assert seen(fitted, ["a"], [77]).tolist() == ["clean"]


def test_names_count_where_counts_cannot_be_compared(fitted):
    found = seen(fitted, ["a", "c", "x"], [77, 78, 79], same_genes=False)
    assert found.tolist() == ["seen-unlabelled", "clean", "clean"]


def test_saved_and_loaded_it_is_the_same_and_equal_cells_give_equal_bytes(fitted, tmp_path):
    fitted.save(tmp_path / "one.txt.gz")
    fitted.save(tmp_path / "two.txt.gz")
    assert (tmp_path / "one.txt.gz").read_bytes() == (tmp_path / "two.txt.gz").read_bytes()
    again = FittedCells.load(tmp_path / "one.txt.gz")
    for ours, theirs in zip(
        (again.names_n, again.parts_n, again.hashes_n), (NAMES, PARTS, HASHES), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert again.hashes_n.dtype == np.uint64


def test_names_may_hold_tabs_and_any_letters(tmp_path):
    odd = FittedCells(np.array(["a\tb", "ü", " "]), PARTS[:3], HASHES[:3])
    odd.save(tmp_path / "cells.txt.gz")
    assert FittedCells.load(tmp_path / "cells.txt.gz").names_n.tolist() == ["a\tb", "ü", " "]


def damaged(path, kind):
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    return {
        "cut": whole[:-12],
        "flipped": bytes(flipped),
        "foreign": b"name,part\na,train\n",
        "empty": b"",
        "no cells": gzip.compress(b""),
        "columns": gzip.compress(b"only-a-name\n"),
        "hash": gzip.compress(b"a\ttrain\tnot-hexadecimal\n"),
        "large": gzip.compress(b"a\ttrain\t1ffffffffffffffff\n"),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["cut", "flipped", "foreign", "empty", "no cells", "columns", "hash", "large"]
)
def test_a_damaged_file_is_one_sentence_that_names_it(fitted, tmp_path, kind):
    path = tmp_path / "cells.txt.gz"
    fitted.save(path)
    path.write_bytes(damaged(path, kind))
    with pytest.raises(RunError, match=r"cells\.txt\.gz is not a list of cells"):
        FittedCells.load(path)


def test_a_missing_file_is_one_sentence_that_names_it(tmp_path):
    with pytest.raises(RunError, match=r"cells\.txt\.gz is missing"):
        FittedCells.load(tmp_path / "cells.txt.gz")
