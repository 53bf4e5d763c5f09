"""Neurons with planted truth: counts drawn from a simulated tissue, in memory or block by block.

Cells are drawn in blocks of fixed size, each from random streams of its own, so that the data do
not depend on how many blocks are held at once; millions of cells are written with the memory of a
few thousand.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy import sparse

from cellwright.data.disk.arrays import new_pool
from cellwright.data.disk.sink import SparseSink
from cellwright.data.disk.target import check_target, open_target
from cellwright.data.simulated_tissue import Tissue, TissueSettings, plant
from cellwright.errors import DataError, SettingsError

BARE = ("cell_barcode", "library_label", "anatomical_division_label")
"""Columns of ``obs`` in an atlas whose labels come in tables of their own."""

_STREAM_CELLS = 1024
_CELL_STREAM, _COUNT_STREAM = 1, 2
_BASES = np.frombuffer(b"ACGT", dtype=np.uint8)


@dataclass(frozen=True)
class _Drawn:
    """The truth about a block of cells: everything but their counts."""

    types_n: NDArray[np.int64]
    libraries_n: NDArray[np.int64]
    programs_np: NDArray[np.float32]
    depth_n: NDArray[np.float32]
    map_n2: NDArray[np.float32]


def simulate(
    n_cells: int = 2000,
    n_genes: int = 1000,
    *,
    seed: int = 0,
    n_donors: int = 6,
    n_libraries: int = 12,
    n_regions: int = 3,
    subclasses: Sequence[str] | None = None,
    clusters: int = 1,
    n_programs: int = 8,
    depth: float | None = None,
    batch_effect: float = 1.0,
) -> AnnData:
    """Simulated cortical neurons with raw counts in ``X`` and the truth beside them.

    Parameters
    ----------
    n_cells, n_genes
        Size. Genes are markers first, then genes of the programs, then made-up ones
        (``var["simulated_id"]``).
    seed
        The same seed and settings give the same data, bit for bit.
    n_donors, n_libraries, n_regions
        A library is one donor's piece of one brain region (1 to 4 regions).
    subclasses
        Names such as ``"L5 IT"``, ``"Sst"``; all thirteen if None.
    clusters
        Clusters in each subclass, told apart more weakly than subclasses.
    n_programs
        Continuous gene programs that vary within every type, 0 to 8.
    depth
        Median count of a cell; None for one count per gene, which leaves 60 to 80 % zeros.
    batch_effect
        Scales donor, region and library effects; 0 for none.

    Returns
    -------
    AnnData
        ``X``: float32 CSR of whole numbers. ``obs``: ``cell_barcode``, ``library_label``,
        ``donor``, ``anatomical_division_label``, ``subtype``, ``subclass``, ``cell_class``,
        ``cluster_alias``, ``truth_depth``. ``var``: ``gene_symbol``, ``marker_of``, ``program``,
        ``simulated_id``, ``truth_theta``. ``obsm``: ``truth_programs``, ``truth_map``. ``varm``:
        ``truth_loadings``. ``uns["truth"]``: the settings as JSON.

    Raises
    ------
    SettingsError
        For numbers that cannot work: no cell, more donors than cells, too few genes for the
        markers, an unknown subclass (the nearest is named).
    """
    settings = TissueSettings(
        n_genes=n_genes,
        seed=seed,
        n_donors=n_donors,
        n_libraries=n_libraries,
        n_regions=n_regions,
        subclasses=None if subclasses is None else tuple(subclasses),
        clusters=clusters,
        n_programs=n_programs,
        depth=depth,
        batch_effect=batch_effect,
    )
    tissue = _planted(n_cells, settings)
    blocks = list(_blocks(tissue, n_cells))
    cells = _without_counts(tissue, [drawn for drawn, _ in blocks])
    cells.X = sparse.vstack([counts for _, counts in blocks], format="csr")
    return cells


def simulate_to_file(
    path: Path | str,
    n_cells: int,
    settings: TissueSettings | None = None,
    *,
    bare: bool = False,
    progress: Callable[[int], None] | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Write the same cells as ``simulate`` to a file, holding the counts of a thousand at a time.

    Parameters
    ----------
    path
        The .h5ad or .zarr to write; it appears under its name only when complete.
    settings
        The tissue; its defaults are those of ``simulate``.
    bare
        As published atlases come: ``obs`` has barcode, library and region alone, and nothing else
        of the truth is in the file.
    progress
        Called with the number of cells drawn since the last call.

    Returns
    -------
    DataFrame
        The whole ``obs`` of these cells, with ``x`` and ``y`` of the true map.

    Raises
    ------
    SettingsError, RunError, DataError
        As ``simulate``; if ``path`` exists and ``force`` is False; if it cannot be written.
    """
    target = check_target(path, force=force)
    tissue = _planted(n_cells, settings or TissueSettings())
    told: list[_Drawn] = []
    with open_target(target, force=force) as file, new_pool() as pool:
        genes = len(tissue.genes)
        sink = SparseSink(file, "X", genes, np.dtype(np.float32), "gzip", pool, n_cells * genes)
        for drawn, counts in _blocks(tissue, n_cells):
            told.append(drawn)
            sink.append(counts)
            if progress is not None:
                progress(counts.shape[0])
        sink.close()
        cells = _without_counts(tissue, told)
        there = (
            AnnData(obs=cells.obs[list(BARE)], var=cells.var[["gene_symbol"]]) if bare else cells
        )
        for key in ("obs", "var", "obsm", "varm", "uns"):
            value = getattr(there, key)
            write_elem(file, key, value if key in ("obs", "var") else dict(value))
        for key in ("layers", "obsp", "varp"):
            write_elem(file, key, {})
    return cells.obs.assign(x=cells.obsm["truth_map"][:, 0], y=cells.obsm["truth_map"][:, 1])


def expected_counts(cells: AnnData) -> NDArray[np.float32]:
    """The true mean mu_ng of every count of simulated ``cells`` (a view or subset will do).

    Together with ``var["truth_theta"]`` it is the whole law of the counts: variance
    mu + mu**2 / theta.

    Raises
    ------
    DataError
        If ``cells`` were not simulated, or hold a gene that was not.
    """
    if "truth" not in cells.uns:
        raise DataError("no uns['truth']: these cells were not simulated by cellwright")
    facts = json.loads(cells.uns["truth"])["settings"]
    if facts["subclasses"] is not None:
        facts["subclasses"] = tuple(facts["subclasses"])
    tissue = plant(TissueSettings(**facts))
    columns = tissue.genes.index.get_indexer(cells.var_names)
    if (columns < 0).any():
        strange = cells.var_names[columns < 0][0]
        raise DataError(f"gene {strange!r} is not one of the {len(tissue.genes)} simulated genes")
    types = pd.Index(tissue.types["subtype"]).get_indexer(cells.obs["subtype"].astype(str))
    libraries = pd.Index(tissue.libraries["library_label"]).get_indexer(
        cells.obs["library_label"].astype(str)
    )
    mean_ng = tissue.mean_counts(
        types,
        libraries,
        np.asarray(cells.obsm["truth_programs"], dtype=np.float32),
        cells.obs["truth_depth"].to_numpy(dtype=np.float32),
    )
    return mean_ng[:, columns]


def _planted(n_cells: int, settings: TissueSettings) -> Tissue:
    if n_cells < 1:
        raise SettingsError(f"n_cells is {n_cells}, expected at least 1")
    for name in ("n_donors", "n_libraries"):
        if getattr(settings, name) > n_cells:
            raise SettingsError(
                f"{name} is {getattr(settings, name)} but there are only {n_cells} cells; "
                "expected at least one cell in each"
            )
    return plant(settings)


def _blocks(tissue: Tissue, n_cells: int) -> Iterator[tuple[_Drawn, sparse.csr_matrix]]:
    for number, start in enumerate(range(0, n_cells, _STREAM_CELLS)):
        size = min(_STREAM_CELLS, n_cells - start)
        drawn = _draw(tissue, number, size)
        yield drawn, _counts(tissue, number, drawn)


def _stream(tissue: Tissue, kind: int, block: int) -> np.random.Generator:
    sequence = np.random.SeedSequence(tissue.settings.seed, spawn_key=(kind, block))
    return np.random.Generator(np.random.Philox(sequence))


def _draw(tissue: Tissue, block: int, size: int) -> _Drawn:
    rng = _stream(tissue, _CELL_STREAM, block)
    n_types, n_libraries = len(tissue.types), len(tissue.libraries)
    libraries_n = np.searchsorted(tissue.libraries["share"].cumsum(), rng.random(size))
    if block * _STREAM_CELLS < n_libraries:
        # No library stays empty, however few cells there are.
        first = block * _STREAM_CELLS
        owed = np.arange(first, min(n_libraries, first + size))
        libraries_n[rng.permutation(size)[: len(owed)]] = owed
    libraries_n = np.minimum(libraries_n, n_libraries - 1)
    up_to_lt = tissue.type_share_lt.cumsum(axis=1)
    types_n = (rng.random(size)[:, None] > up_to_lt[libraries_n]).sum(axis=1)
    types_n = np.minimum(types_n, n_types - 1)
    if block == 0:
        seats = rng.permutation(size)[:n_types]
        types_n[seats] = np.arange(len(seats))
    mean_np = tissue.program_mean_tp[types_n]
    programs_np = mean_np + rng.standard_normal(mean_np.shape, dtype=np.float32)
    median = tissue.settings.depth or float(tissue.settings.n_genes)
    log_depth_n = (
        np.log(median)
        + tissue.types["log_depth"].to_numpy()[types_n]
        + tissue.libraries["log_depth"].to_numpy()[libraries_n]
        + rng.normal(0.0, 0.45, size)
    )
    centre_n2 = tissue.types[["x", "y"]].to_numpy()[types_n]
    map_n2 = centre_n2 + programs_np @ tissue.map_loadings_p2 + rng.normal(0.0, 0.3, (size, 2))
    return _Drawn(
        types_n=types_n,
        libraries_n=libraries_n,
        programs_np=programs_np,
        depth_n=np.exp(log_depth_n).astype(np.float32),
        map_n2=map_n2.astype(np.float32),
    )


def _counts(tissue: Tissue, block: int, drawn: _Drawn) -> sparse.csr_matrix:
    """Negative binomial counts as a Poisson of a gamma, float32 CSR."""
    rng = _stream(tissue, _COUNT_STREAM, block)
    mean_ng = tissue.mean_counts(drawn.types_n, drawn.libraries_n, drawn.programs_np, drawn.depth_n)
    shape_ng = np.broadcast_to(tissue.theta_g, mean_ng.shape)
    rate_ng = rng.standard_gamma(shape_ng, dtype=np.float32) * (mean_ng / tissue.theta_g)
    return sparse.csr_matrix(rng.poisson(rate_ng).astype(np.float32))


def _without_counts(tissue: Tissue, drawn: list[_Drawn]) -> AnnData:
    types_n = np.concatenate([d.types_n for d in drawn])
    libraries_n = np.concatenate([d.libraries_n for d in drawn])
    barcodes_n = _barcodes(len(types_n), tissue.settings.seed)
    libraries = tissue.libraries["library_label"].to_numpy(dtype=str)
    obs = pd.DataFrame({"cell_barcode": barcodes_n})
    for table, codes_n, columns in (
        (tissue.libraries, libraries_n, ["library_label", "donor", "anatomical_division_label"]),
        (tissue.types, types_n, ["subtype", "subclass", "cell_class"]),
    ):
        for column in columns:
            names, of_row = np.unique(table[column].to_numpy(dtype=str), return_inverse=True)
            values = pd.Categorical.from_codes(of_row[codes_n], categories=pd.Index(names))
            obs[column] = values.remove_unused_categories()
    obs["cluster_alias"] = tissue.types["cluster_alias"].to_numpy()[types_n]
    obs["truth_depth"] = np.concatenate([d.depth_n for d in drawn])
    obs.index = pd.Index(
        np.char.add(np.char.add(libraries, ":")[libraries_n], barcodes_n), name="cell_label"
    )
    var = tissue.genes.assign(truth_theta=tissue.theta_g)
    cells = AnnData(obs=obs, var=var)
    cells.obsm["truth_programs"] = np.concatenate([d.programs_np for d in drawn])
    cells.obsm["truth_map"] = np.concatenate([d.map_n2 for d in drawn])
    cells.varm["truth_loadings"] = tissue.loadings_pg.T.copy()
    settings = dataclasses.asdict(tissue.settings)
    cells.uns["truth"] = json.dumps({"schema": "cellwright.simulate/1", "settings": settings})
    return cells


def _barcodes(n_cells: int, seed: int) -> NDArray[np.str_]:
    """Sixteen bases per cell, unique: an odd multiple of the cell's number modulo 4**16."""
    start = np.random.default_rng(seed).integers(2**32, dtype=np.uint64)
    number_n = (np.arange(n_cells, dtype=np.uint64) * np.uint64(2654435761) + start) % 2**32
    digits = (number_n[:, None] >> (2 * np.arange(16, dtype=np.uint64))) & np.uint64(3)
    return _BASES[digits].view("S16").ravel().astype("U16")
