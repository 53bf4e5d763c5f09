"""The verdict finds the scale that was planted, and gives a reason a reader can check."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.data.scale import verdict


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """Counts of 300 cells × 200 genes with uneven depth, as sequencing gives them."""
    rng = np.random.default_rng(0)
    depth_n = rng.gamma(4, 1, (300, 1))
    gene_g = rng.gamma(0.5, 1, (1, 200))
    return rng.poisson(depth_n * gene_g).astype(np.float32)


def normalized(counts: np.ndarray, target: float = 1e4) -> np.ndarray:
    sums = counts.sum(axis=1, keepdims=True)
    return target * counts / np.maximum(sums, 1)


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_whole_numbers_are_counts(counts, storage):
    found = verdict(storage(counts.astype(np.int32)))
    assert found.kind == "counts"
    assert found.n_values == np.count_nonzero(counts)
    assert (found.smallest, found.largest) == (1, counts.max())
    as_floats = verdict(storage(counts))
    assert as_floats.kind == "float-counts"
    assert f"all {np.count_nonzero(counts):,} nonzero values" in as_floats.evidence
    assert "stored as float32" in as_floats.evidence
    assert found.are_counts
    assert as_floats.are_counts


@pytest.mark.parametrize("target", [1.0, 1e3, 1e4, 1e6])
@pytest.mark.parametrize(
    ("log", "name"), [(np.log1p, "natural log"), (lambda x: np.log2(x + 1), "log2")]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_of_normalized_counts(counts, target, log, name, dtype):
    found = verdict(log(normalized(counts, target)).astype(dtype))
    assert not found.are_counts
    # Proportions below 1e-2 and their logarithms are alike: either reading is honest.
    if target > 1:
        assert found.kind == "lognorm"
        assert name in found.evidence
        assert f"add up to {target:,.0f}" in found.evidence


def test_a_subset_of_genes_still_shows_the_counts_behind_the_logarithm(counts):
    found = verdict(sp.csr_matrix(np.log1p(normalized(counts)))[:, :60])
    assert found.kind == "lognorm"
    assert "whole multiples of its smallest" in found.evidence


@pytest.mark.parametrize(
    "log", [np.log1p, lambda x: np.log2(x + 1), lambda x: np.log10(x + 1)], ids=["e", "2", "10"]
)
def test_the_log_of_plain_counts(counts, log):
    found = verdict(log(counts))
    assert found.kind == "lognorm"
    assert "not normalized" in found.evidence


def test_normalized_without_a_logarithm_is_no_count(counts):
    found = verdict(normalized(counts))
    assert found.kind == "unknown"
    assert "add up to 10,000: normalized without a logarithm" in found.evidence
    part = verdict(normalized(counts)[:, :60])
    assert part.kind == "unknown"
    assert "normalized without a logarithm" in part.evidence


def test_centred_values_are_scaled(counts):
    log = np.log1p(normalized(counts))
    scaled = (log - log.mean(axis=0)) / np.maximum(log.std(axis=0), 1e-6)
    found = verdict(scaled)
    assert found.kind == "scaled"
    assert found.n_negative == (scaled < 0).sum()
    clipped = verdict(np.clip(scaled, -10, 10))
    assert clipped.kind == "scaled"


def test_estimated_counts_are_unknown_not_lognormal(counts):
    rng = np.random.default_rng(1)
    corrected = np.where(rng.random(counts.shape) < 0.2, 0.83 * counts, counts)
    found = verdict(corrected)
    assert found.kind == "unknown"
    assert found.n_fractional == np.count_nonzero(corrected != np.rint(corrected))
    large = counts * 100 + rng.random(counts.shape)
    assert verdict(large).kind == "unknown"


def test_one_fraction_among_counts_is_shown(counts):
    spoiled = counts.copy()
    spoiled[5, 3] = 2.5
    found = verdict(spoiled)
    assert found.kind == "unknown"
    assert "e.g. 2.5" in found.evidence
    assert found.n_fractional == 1


@pytest.mark.parametrize(
    ("value", "n_nan", "n_inf", "n_negative"),
    [(np.nan, 1, 0, 0), (np.inf, 0, 1, 0), (-np.inf, 0, 1, 0), (-2, 0, 0, 1)],
)
def test_impossible_values_are_counted(counts, value, n_nan, n_inf, n_negative):
    spoiled = counts.copy()
    spoiled[5, 3] = value
    found = verdict(spoiled)
    assert found.kind == "unknown"
    assert (found.n_nan, found.n_inf, found.n_negative) == (n_nan, n_inf, n_negative)
    assert np.isfinite([found.smallest, found.largest]).all()


def test_nothing_to_judge():
    found = verdict(sp.csr_matrix((5, 4)))
    assert found.kind == "unknown"
    assert "no value other than zero" in found.evidence
    assert found.largest is None
    assert verdict(np.full((2, 2), np.nan)).largest is None


def test_a_matrix_larger_than_a_block_is_tallied_whole():
    # Blocks are 4 million values; each of these rows is one gene longer than that.
    large = np.ones((2, (1 << 22) + 1), dtype=np.float32)
    large[0, 0], large[0, -1], large[1, -1] = 7, 2.5, -3
    found = verdict(large)
    assert (found.n_values, found.n_fractional, found.n_negative) == (large.size, 1, 1)
    assert (found.smallest, found.largest) == (-3, 7)


def test_real_counts_and_their_logarithms(real_data):
    from cellwright.data.reading import counts_of, read_cells

    path = real_data / "pbmc3k" / "pbmc3k_2638x2000hvg_counts.h5ad"
    real = counts_of(read_cells(path))
    assert verdict(real).kind == "float-counts"
    log = real.copy()
    sums = np.repeat(np.asarray(real.sum(axis=1)).ravel(), np.diff(real.indptr))
    log.data = np.log1p(1e4 * real.data / sums).astype(np.float32)
    assert verdict(log).kind == "lognorm"
    assert "add up to 10,000" in verdict(log).evidence
    assert "whole multiples" in verdict(log[:, ::3]).evidence
