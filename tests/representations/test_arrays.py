from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError
from cellwright.representations.arrays import from_file, from_obsm


def test_obsm_comes_as_float32_rows(cells):
    cells.obsm["X_pca"] = np.arange(240.0).reshape(120, 2)
    cells.obsm["X_sparse"] = sp.csr_matrix(np.eye(120))
    assert from_obsm(cells, "X_pca").dtype == np.float32
    np.testing.assert_array_equal(from_obsm(cells, "X_pca"), cells.obsm["X_pca"])
    np.testing.assert_array_equal(from_obsm(cells, "X_sparse"), np.eye(120))


def test_a_missing_key_names_the_nearest(cells):
    with pytest.raises(DataError, match="no 'X_pca' in obsm: keys: none"):
        from_obsm(cells, "X_pca")
    cells.obsm["X_pca"] = np.zeros((120, 2))
    with pytest.raises(DataError, match="did you mean 'X_pca'"):
        from_obsm(cells, "X_pcs")


def test_a_file_of_vectors(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 3))
    np.save(tmp_path / "v.npy", values)
    np.testing.assert_allclose(from_file(tmp_path / "v.npy", 5), values, rtol=1e-6)
    np.save(tmp_path / "one.npy", values[:, 0])
    assert from_file(tmp_path / "one.npy", 5).shape == (5, 1)


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.npy"):
        from_file(tmp_path / "nowhere.npy", 5)
    np.save(tmp_path / "v.npy", np.zeros((4, 2)))
    with pytest.raises(DataError, match="4 rows for 5 cells"):
        from_file(tmp_path / "v.npy", 5)
    (tmp_path / "t.npy").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"t\.npy is not a \.npy file"):
        from_file(tmp_path / "t.npy", 5)
    np.save(tmp_path / "o.npy", np.array([{"a": 1}] * 5, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"o\.npy is not a \.npy file"):
        from_file(tmp_path / "o.npy", 5)
    np.savez(tmp_path / "two.npz", a=np.zeros(5), b=np.zeros(5))
    with pytest.raises(DataError, match="several arrays"):
        from_file(tmp_path / "two.npz", 5)
    np.save(tmp_path / "words.npy", np.array(["a"] * 5))
    with pytest.raises(DataError, match="does not hold numbers"):
        from_file(tmp_path / "words.npy", 5)
    np.save(tmp_path / "cube.npy", np.zeros((5, 2, 2)))
    with pytest.raises(DataError, match=r"\(5, 2, 2\)"):
        from_file(tmp_path / "cube.npy", 5)
    bad = np.zeros((5, 2))
    bad[3, 1] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    with pytest.raises(DataError, match="first: row 3"):
        from_file(tmp_path / "nan.npy", 5)
