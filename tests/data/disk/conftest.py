"""Atlases of every storage, small, with something in every slot."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

N, G = 210, 37


def make_cells(storage: str, seed: int = 0) -> ad.AnnData:
    """Cells with layers of three kinds, obsm, varm, obsp, varp, raw, colours and all column kinds."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, (N, G)).astype(np.float32)
    x = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}[storage](counts)
    obs = pd.DataFrame(
        {
            "ordered": pd.Categorical(
                rng.choice(list("xyz"), N), categories=list("zyxw"), ordered=True
            ),
            "type": pd.Categorical(["rare"] * 5 + ["common"] * (N - 5)),
            "gaps": pd.Categorical([None, "a"] * (N // 2)),
            "text": [f"text {i} é" for i in range(N)],
            "whole": pd.array(rng.integers(0, 9, N), dtype="Int64"),
            "truth": pd.array(rng.random(N) < 0.5, dtype="boolean"),
            "number": rng.random(N),
        },
        index=pd.Index([f"cell{i}" for i in range(N)], name="cell_label"),
    )
    obs.loc[obs.index[7], ["whole", "truth"]] = pd.NA
    var = pd.DataFrame({"length": np.arange(G)}, index=[f"gene{i}" for i in range(G)])
    cells = ad.AnnData(x, obs=obs, var=var)
    cells.layers["counts"] = sp.csr_matrix(counts.astype(np.int32))
    cells.layers["scaled"] = rng.normal(size=(N, G))
    cells.layers["by_gene"] = sp.csc_matrix(np.log1p(counts))
    cells.obsm["X_pca"] = rng.random((N, 5))
    cells.obsm["table"] = pd.DataFrame({"q": rng.random(N)}, index=cells.obs_names)
    cells.obsm["sparse"] = sp.csr_matrix(counts[:, :3])
    cells.varm["loadings"] = rng.random((G, 2))
    cells.obsp["distances"] = sp.random(N, N, 0.05, format="csr", random_state=seed)
    cells.varp["dense"] = rng.random((G, G))
    cells.uns["type_colors"] = np.array(["#111111", "#222222"])
    cells.uns["nested"] = {"number": 1, "text": "t", "list": np.arange(3)}
    cells.raw = cells.copy()
    return cells


def write_to(cells: ad.AnnData, path: Path, compression: str | None = "gzip") -> Path:
    """Write .h5ad or .zarr, as the ending says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".zarr":
            cells.write_zarr(path)
        else:
            cells.write_h5ad(path, compression=compression)
    return path


def read_from(path: Path) -> ad.AnnData:
    """Read .h5ad or .zarr whole, as anndata does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.read_zarr(path) if path.suffix == ".zarr" else ad.read_h5ad(path)


@pytest.fixture(scope="session")
def atlases(tmp_path_factory) -> dict[tuple[str, str], Path]:
    """One file per storage and ending."""
    folder = tmp_path_factory.mktemp("atlases")
    return {
        (storage, ending): write_to(make_cells(storage), folder / f"{storage}{ending}")
        for storage in ("csr", "csc", "dense")
        for ending in (".h5ad", ".zarr")
    }


def compare(found: Any, wanted: Any, where: str = "") -> None:
    """Fail unless both hold the same values of the same types."""
    if isinstance(wanted, pd.DataFrame):
        pd.testing.assert_frame_equal(found, wanted, obj=where)
    elif sp.issparse(wanted):
        assert found.format == wanted.format and found.dtype == wanted.dtype, where
        np.testing.assert_array_equal(found.toarray(), wanted.toarray(), err_msg=where)
    elif isinstance(wanted, Mapping):
        assert sorted(found) == sorted(wanted), where
        for key in wanted:
            compare(found[key], wanted[key], f"{where}/{key}")
    elif isinstance(wanted, np.ndarray):
        # Text is read as objects from .h5ad and as strings from .zarr.
        assert found.dtype == wanted.dtype or wanted.dtype.kind in "OT", where
        np.testing.assert_array_equal(found, wanted, err_msg=where)
    else:
        assert found == wanted, where


def compare_cells(found: ad.AnnData, wanted: ad.AnnData) -> None:
    """Fail unless everything in both is the same."""
    for slot in ("X", "obs", "var", "layers", "obsm", "varm", "obsp", "varp", "uns"):
        compare(getattr(found, slot), getattr(wanted, slot), slot)
    assert (found.raw is None) is (wanted.raw is None)
    if wanted.raw is not None:
        for slot in ("X", "var", "varm"):
            compare(getattr(found.raw, slot), getattr(wanted.raw, slot), f"raw/{slot}")


@pytest.fixture(scope="session")
def full_cells():
    return make_cells


@pytest.fixture(scope="session")
def write():
    return write_to


@pytest.fixture(scope="session")
def read():
    return read_from


@pytest.fixture(scope="session")
def same():
    return compare_cells
