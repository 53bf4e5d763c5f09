"""Atlas-sized .h5ad files to measure on, packed as atlases are: gzip, chunks as h5py chooses them.

Each gene is found with a probability of its own times the depth of the cell, 1,300 nonzero genes in
a typical cell. The same counts by cell (CSR), by gene (CSC) and dense.
"""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import write_elem

NONZERO, BLOCK = 1300, 1000


def write_atlas(path: Path, n: int, g: int, *, seed: int = 0) -> None:
    """n cells × g genes by cell, with a column that marks a tenth of the cells, scattered."""
    rng = np.random.default_rng(seed)
    popularity_g = rng.lognormal(-0.5, 2.2, g)
    low, high = 1e-9, 1e3
    for _ in range(80):
        scale = np.sqrt(low * high)
        fewer = (1 - np.exp(-popularity_g * scale)).sum() < NONZERO
        low, high = (scale, high) if fewer else (low, scale)
    rate_g = (popularity_g * scale).astype(np.float32)
    with h5py.File(path, "w") as file:
        parts = _sparse(file, "csr_matrix", (n, g), int(1.2 * NONZERO * n))
        at, lengths = 0, []
        for start in range(0, n, BLOCK):
            size = min(BLOCK, n - start)
            depth_n = rng.lognormal(0.0, 0.4, (size, 1)).astype(np.float32)
            found = rng.random((size, g), dtype=np.float32) < 1 - np.exp(-depth_n * rate_g)
            rows, columns = np.nonzero(found)
            stop = at + columns.size
            parts["data"][at:stop] = rng.geometric(0.6, columns.size).astype(np.float32)
            parts["indices"][at:stop] = columns
            lengths.append(np.bincount(rows, minlength=size))
            at = stop
        for part in ("data", "indices"):
            parts[part].resize((at,))
        parts["indptr"] = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        _tables(file, n, g, rng)


def write_by_gene(source: Path, path: Path) -> None:
    """The same cells with X as CSC; holds the matrix twice."""
    with h5py.File(source) as old, h5py.File(path, "w") as file:
        x = old["X"]
        by_gene = sp.csr_matrix(
            (x["data"][:], x["indices"][:], x["indptr"][:]), shape=tuple(x.attrs["shape"])
        ).tocsc()
        parts = _sparse(file, "csc_matrix", by_gene.shape, by_gene.nnz)
        parts["data"][:], parts["indices"][:] = by_gene.data, by_gene.indices
        parts["indptr"] = by_gene.indptr
        _rest(old, file)


def write_dense(source: Path, path: Path) -> None:
    """The same cells with a dense X, a band of chunks at a time, packed on threads."""
    with h5py.File(source) as old, h5py.File(path, "w") as file, ThreadPoolExecutor(2) as pool:
        x = old["X"]
        n, g = (int(size) for size in x.attrs["shape"])
        into = file.create_dataset(
            "X", (n, g), np.float32, chunks=True, compression="gzip", compression_opts=1
        )
        into.attrs["encoding-type"], into.attrs["encoding-version"] = "array", "0.2.0"
        height, width = into.chunks
        indptr = x["indptr"][:]

        def packed(tile: np.ndarray) -> bytes:
            full = np.zeros((height, width), np.float32)
            full[: tile.shape[0], : tile.shape[1]] = tile
            return zlib.compress(full, 1)

        for top in range(0, n, height):
            low, high = indptr[top], indptr[min(top + height, n)]
            part = slice(low, high)
            band = sp.csr_matrix(
                (x["data"][part], x["indices"][part], indptr[top : top + height + 1] - low),
                shape=(min(height, n - top), g),
            ).toarray()
            tiles = [band[:, left : left + width] for left in range(0, g, width)]
            for number, chunk in enumerate(pool.map(packed, tiles)):
                into.id.write_direct_chunk((top, number * width), chunk)
        _rest(old, file)


def _sparse(file: h5py.File, encoding: str, shape: tuple[int, int], most: int) -> h5py.Group:
    group = file.create_group("X")
    group.attrs["encoding-type"], group.attrs["encoding-version"] = encoding, "0.1.0"
    group.attrs["shape"] = np.array(shape)
    for part, kind in (("data", np.float32), ("indices", np.int32)):
        group.create_dataset(part, (most,), kind, maxshape=(None,), compression="gzip")
    return group


def _tables(file: h5py.File, n: int, g: int, rng: np.random.Generator) -> None:
    sampled = np.zeros(n, bool)
    sampled[rng.choice(n, n // 10, replace=False)] = True
    obs = pd.DataFrame(
        {
            "sampled": pd.Categorical(np.where(sampled, "yes", "no")),
            "cluster_alias": rng.integers(0, 400, n),
        },
        index=[f"library:{i:016d}" for i in range(n)],
    )
    write_elem(file, "obs", obs)
    write_elem(file, "var", pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(g)]))
    for key in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        write_elem(file, key, {})
    file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"


def _rest(old: h5py.File, file: h5py.File) -> None:
    for key in old:
        if key != "X":
            old.copy(key, file)
    for key, value in old.attrs.items():
        file.attrs[key] = value
