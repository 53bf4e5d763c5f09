from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError, RunError
from cellwright.representations.technical import Batch, Depth, DepthAndBatch, size_column


def test_depth_closed_form(cells):
    counts = cells.X.toarray()
    expected = np.column_stack([np.log1p(counts.sum(axis=1)), np.log1p((counts > 0).sum(axis=1))])
    np.testing.assert_allclose(Depth().fit(cells).transform(cells), expected, rtol=1e-6)


def test_depth_from_a_library_size_column(cells):
    vectors = Depth("libsize").fit(cells).transform(cells)
    np.testing.assert_allclose(vectors[:, 0], np.log1p(cells.obs["libsize"]), rtol=1e-6)
    assert size_column(cells.obs) == "libsize"
    assert size_column(cells.obs[["kind"]]) is None


def test_a_library_size_that_is_none_is_named(cells):
    cells.obs["libsize"] = cells.obs["libsize"].astype(object)
    cells.obs.iloc[3, 2] = "many"
    with pytest.raises(DataError, match="'many' for cell cell3"):
        Depth("libsize").transform(cells)
    with pytest.raises(DataError, match="did you mean 'libsize'"):
        Depth("libsiz").transform(cells)


def test_batch_is_one_hot_and_zero_for_unseen_or_missing(cells):
    cells.obs["library"] = cells.obs["library"].astype(object)
    cells.obs.iloc[0, 0] = None
    cells.obs.iloc[1, 0] = "L9"
    rep = Batch().fit(cells[2:])
    assert rep.column_ == "library" and list(rep.batches_) == ["L1", "L2", "L3", "L4"]
    vectors = rep.transform(cells)
    assert not vectors[:2].any()
    np.testing.assert_array_equal(
        rep.batches_[vectors[2:].argmax(axis=1)], cells.obs["library"][2:]
    )
    assert (vectors[2:].sum(axis=1) == 1).all()


def test_batch_needs_a_column(cells):
    with pytest.raises(DataError, match="kind"):
        Batch().fit(_without_library(cells))
    with pytest.raises(DataError, match="did you mean 'library'"):
        Batch("librari").fit(cells)
    with pytest.raises(RunError, match="not been fitted"):
        Batch().transform(cells)


def test_depth_and_batch_side_by_side(cells):
    both = DepthAndBatch().fit(cells).transform(cells)
    np.testing.assert_array_equal(both[:, :2], Depth().transform(cells))
    np.testing.assert_array_equal(both[:, 2:], Batch().fit(cells).transform(cells))


def _without_library(cells):
    out = cells.copy()
    out.obs = out.obs[["kind"]]
    return out
