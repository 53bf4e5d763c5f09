"""Packed counts: the counts they were made of, whatever they are and wherever they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellwright.data.disk.aside import AsideFile
from cellwright.training.linear_vae_fit import prepared, trained
from cellwright.training.linear_vae_settings import LDVAESettings
from cellwright.training.packed_counts import CountsOnDisk, PackedCounts, detected, totals


def made(kind: str, genes: int) -> sp.csr_matrix:
    """60 cells, one of them empty, with counts of one kind."""
    rng = np.random.default_rng(0)
    counts_ng = sp.random(60, genes, density=0.1, format="csr", random_state=rng).astype(np.float64)
    counts_ng.data = {
        "small": rng.integers(1, 9, counts_ng.nnz),
        "large": rng.integers(1, 600, counts_ng.nnz),  # 254, 255 and 256 among them
        "huge": rng.integers(60_000, 90_000, counts_ng.nnz),
        "fractions": rng.random(counts_ng.nnz),
    }[kind].astype(np.float64)
    counts_ng = sp.csr_matrix(sp.diags_array((np.arange(60) != 7).astype(float)) @ counts_ng)
    counts_ng.eliminate_zeros()
    counts_ng.sort_indices()
    return counts_ng


def blocks(counts_ng: sp.csr_matrix) -> list[sp.csr_matrix]:
    return [sp.csr_matrix(counts_ng[at : at + 16]) for at in range(0, 60, 16)]


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("kind", ["small", "large", "huge", "fractions"])
@pytest.mark.parametrize("genes", [300, 70_000])
def test_rows_come_back_as_they_were(tmp_path: Path, genes: int, kind: str, on_disk: bool) -> None:
    counts_ng = made(kind, genes)
    with AsideFile(tmp_path) as file:
        file.add(b"something before")
        held = (
            CountsOnDisk.of(blocks(counts_ng), file)
            if on_disk
            else PackedCounts.of(blocks(counts_ng))
        )
        rows = np.array([5, 0, 59, 7, 5])
        found = held.rows(rows)
        expected = counts_ng[rows].astype(np.float32)
        assert found.columns.dtype == np.int32
        assert found.counts.dtype == np.float32
        np.testing.assert_array_equal(found.offsets_n, expected.indptr)
        np.testing.assert_array_equal(found.columns, expected.indices)
        np.testing.assert_array_equal(found.counts, expected.data)
        np.testing.assert_array_equal(detected(held), np.bincount(counts_ng.indices, None, genes))
        np.testing.assert_allclose(totals(held), np.asarray(counts_ng.sum(1)).ravel(), rtol=1e-6)


def test_they_are_small() -> None:
    counts_ng = made("small", 300)
    packed = PackedCounts.of_matrix(counts_ng, block_cells=7)
    entry = packed.columns.nbytes + packed.counts.nbytes + packed.others.nbytes
    assert entry == 3 * counts_ng.nnz


def test_nothing_is_left_of_the_file(tmp_path: Path) -> None:
    with AsideFile(tmp_path) as file:
        CountsOnDisk.of(blocks(made("small", 300)), file)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("library", ["observed", "latent"])
def test_training_from_disk_ends_in_the_same_weights(tmp_path: Path, library: str) -> None:
    rate_g = np.random.default_rng(1).gamma(0.5, 4, 200)
    drawn = np.random.default_rng(2).poisson(rate_g, (120, 200)).astype(np.float32)
    counts_ng = sp.csr_matrix(drawn)
    settings = LDVAESettings(latent=3, epochs=4, batch_size=32, library=library)
    codes = np.zeros(90, np.int64), np.zeros(30, np.int64)
    found = []
    with AsideFile(tmp_path) as file:
        memory = [PackedCounts.of_matrix(part) for part in (counts_ng[:90], counts_ng[90:])]
        disk = [CountsOnDisk.of([part], file) for part in (counts_ng[:90], counts_ng[90:])]
        for train, val in (memory, disk):
            found.append(trained(*prepared(train, val, *codes, settings), None))
    assert [row["val_loss"] for row in found[0].history] == [
        row["val_loss"] for row in found[1].history
    ]
    for name, tensor in found[0].fitted.last.items():
        assert torch.equal(tensor, found[1].fitted.last[name]), name
