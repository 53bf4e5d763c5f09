"""Look at an .h5ad without loading its matrix: what is in it, and what will go wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from cellwright.data.columns import ColumnSummary, quantiles, summarize_column
from cellwright.data.disk.nodes import is_array, is_group
from cellwright.data.disk.source import file_bytes, opened
from cellwright.data.genes import GeneNames, gene_names
from cellwright.data.inspection_text import as_text
from cellwright.data.opening import translated
from cellwright.data.problems import find_problems
from cellwright.data.reading import read_cells
from cellwright.data.sampling import MatrixFacts, look_at
from cellwright.data.split import group_columns, split_unit
from cellwright.data.stored import is_sparse, open_matrix
from cellwright.data.tables import Table, n_duplicates, open_table, table_of_frame
from cellwright.errors import DataError

LABEL_COLUMNS = ("cluster", "subtype", "cluster_alias", "cluster_label", "label")
"""Columns taken for the label, in this order, when none is named."""


@dataclass(frozen=True, repr=False)
class Inspection:
    """What was found in a file; ``print`` it, or see ``to_dict`` for the keys of ``--json``.

    ``matrices`` holds what was found about X, the layers and raw; ``judged`` is the one that the
    verdict is about: the counts if there are any, else X. ``counts_in`` names the matrix that
    holds counts, or None.
    """

    file: str
    file_bytes: int | None
    obs: Table
    var: Table
    matrices: list[MatrixFacts]
    judged: MatrixFacts | None
    counts_in: str | None
    genes: GeneNames
    duplicates: dict[str, int]
    problems: list[str]
    uns: list[str]
    obsm: dict[str, list[int]]
    column: ColumnSummary | None
    split_by: str | None
    split_groups: dict[str, int] | None

    @property
    def verdict(self) -> str:
        """``counts``, ``float-counts``, ``lognorm``, ``scaled`` or ``unknown``."""
        return self.judged.verdict.kind if self.judged else "unknown"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain types; the keys stay stable from release to release."""
        judged = self.judged
        return {
            "schema": "cellwright.inspect/1",
            "file": self.file,
            "n_obs": self.obs.n,
            "n_vars": self.var.n,
            "format": judged.format if judged else None,
            "bytes": self.file_bytes,
            "memory_bytes": judged.memory_bytes if judged else None,
            "density": judged.density if judged else None,
            "verdict": self.verdict,
            "verdict_of": judged.name if judged else None,
            "evidence": judged.verdict.evidence if judged else "there is no matrix",
            "counts_in": self.counts_in,
            "matrices": [facts.to_dict() for facts in self.matrices],
            "counts_per_cell": _quantiles(judged.sums if judged else None),
            "genes_per_cell": _quantiles(judged.nonzeros if judged else None),
            "gene_id_kind": self.genes.kind,
            "gene_ids_in": self.genes.id_from,
            "gene_symbols_in": self.genes.symbol_from,
            "organism": self.genes.organism,
            "duplicates": self.duplicates,
            "problems": self.problems,
            "obs": _columns(self.obs),
            "var": _columns(self.var),
            "uns": self.uns,
            "obsm": self.obsm,
            "column": self.column.to_dict() if self.column else None,
            "split_by": self.split_by,
            "split_groups": self.split_groups,
        }

    def text(self) -> str:
        """The same for people, as plain text of lines under 100 characters."""
        return as_text(self)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__


def inspect(
    path: Path | str | AnnData,
    column: str | None = None,
    by: str | None = None,
    values: Sequence[str] | None = None,
) -> Inspection:
    """Look at an .h5ad or .zarr, or at cells in memory, without loading the matrix.

    The verdict rests on all values of a small matrix and on rows spread over a large one; its
    sentence says which.

    Parameters
    ----------
    column
        A column of ``obs`` to summarize; default the first of ``LABEL_COLUMNS`` that is there.
    by
        Another column of ``obs`` for a cross table with ``column``.
    values
        Values of ``column`` whose cells are to be counted.

    Raises
    ------
    DataError
        If the file cannot be read (see :func:`cellwright.data.opening.open_h5ad`), is damaged,
        has no cells or no genes, or a column or value does not exist.
    """
    asked = (column, by, values)
    if isinstance(path, AnnData):
        cells = read_cells(path)
        tables = table_of_frame(cells.obs, "obs"), table_of_frame(cells.var, "var")
        facts = [look_at(matrix, name) for name, matrix in _matrices_in_memory(cells)]
        return _inspection("cells in memory", None, tables, facts, _contents(cells), asked)
    path = Path(path)
    with opened(path) as file, translated(path):
        tables = _open_tables(file, path)
        for table, what in zip(tables, ("cells", "genes"), strict=True):
            if table.n == 0:
                raise DataError(
                    f"{path}: there are no {what} (shape {tables[0].n} × {tables[1].n}); at least "
                    "one cell and one gene are needed"
                )
        facts = _look_at_file(file, tables[0].n, tables[1].n)
        return _inspection(str(path), file_bytes(path), tables, facts, _contents(file), asked)


def _inspection(
    name: str,
    size: int | None,
    tables: tuple[Table, Table],
    matrices: list[MatrixFacts],
    contents: tuple[list[str], dict[str, list[int]]],
    asked: tuple[str | None, str | None, Sequence[str] | None],
) -> Inspection:
    obs, var = tables
    counts_in = _counts_in(matrices)
    wanted = counts_in or ("X" if matrices and matrices[0].name == "X" else None)
    judged = next((m for m in matrices if m.name == wanted), matrices[0] if matrices else None)
    genes = gene_names(var.frame())
    obs_names, var_names = obs.index(), var.index()
    unit, groups = _unit(obs)
    return Inspection(
        file=name,
        file_bytes=size,
        obs=obs,
        var=var,
        matrices=matrices,
        judged=judged,
        counts_in=counts_in,
        genes=genes,
        duplicates={"obs": n_duplicates(obs_names)[0], "var": n_duplicates(var_names)[0]},
        problems=find_problems(judged, matrices, counts_in, obs_names, var_names, genes),
        uns=contents[0],
        obsm=contents[1],
        column=_column(obs, *asked),
        split_by=unit,
        split_groups=groups,
    )


def _open_tables(file: Any, path: Path) -> tuple[Table, Table]:
    if is_array(file["obs"]):
        # Before anndata 0.7 the categories stood in uns: anndata puts them together.
        cells = read_cells(path, backed=True)
        return table_of_frame(cells.obs, "obs"), table_of_frame(cells.var, "var")
    return open_table(file["obs"], "obs"), open_table(file["var"], "var")


def _look_at_file(file: Any, n_obs: int, n_vars: int) -> list[MatrixFacts]:
    layers, raw = file.get("layers", {}), file.get("raw")
    nodes = [("X", file["X"])] if "X" in file else []
    nodes += [(f"layers/{key}", layers[key]) for key in layers]
    # Without raw, a .zarr holds an empty array of that name.
    nodes += [("raw/X", raw["X"])] if raw is not None and is_group(raw) and "X" in raw else []
    nodes += [("raw.X", file["raw.X"])] if "raw.X" in file else []
    facts = []
    for name, node in nodes:
        if name.startswith("layers/") and not (is_array(node) or is_sparse(node)):
            continue
        matrix = open_matrix(node, name)
        if matrix.shape[0] != n_obs or (matrix.shape[1] != n_vars and not name.startswith("raw")):
            raise DataError(
                f"{name} is {matrix.shape[0]} × {matrix.shape[1]}, but there are {n_obs} cells in "
                f"obs and {n_vars} genes in var; write the file again"
            )
        facts.append(look_at(matrix, name))
    return facts


def _matrices_in_memory(cells: AnnData) -> list[tuple[str, Any]]:
    found = [] if cells.X is None else [("X", cells.X)]
    found += [(f"layers/{key}", matrix) for key, matrix in cells.layers.items()]
    return found if cells.raw is None else [*found, ("raw/X", cells.raw.X)]


def _contents(source: Any) -> tuple[list[str], dict[str, list[int]]]:
    """Keys of ``uns``, and of ``obsm`` with their shapes, of an AnnData or an open file."""
    held = isinstance(source, AnnData)
    uns = list(source.uns if held else source.get("uns", {}))
    stored = source.obsm if held else source.get("obsm", {})
    obsm = {key: stored[key] for key in stored}
    return uns, {key: [int(k) for k in getattr(node, "shape", ())] for key, node in obsm.items()}


def _counts_in(matrices: list[MatrixFacts]) -> str | None:
    """The matrix of counts: the layer ``counts`` before X, before any other layer, before raw."""
    good = [m.name for m in matrices if m.verdict.are_counts]
    first = [name for name in ("layers/counts", "X") if name in good]
    return next(iter(first + good), None)


def _column(
    obs: Table, column: str | None, by: str | None, values: Sequence[str] | None
) -> ColumnSummary | None:
    if column is None:
        column = next((name for name in LABEL_COLUMNS if name in obs.kinds), None)
    if column is None:
        if by is None and values is None:
            return None
        asked = "--by" if by is not None else "--values"
        raise DataError(
            f"{asked} needs a column, and obs has none of {', '.join(LABEL_COLUMNS)}: name one with "
            f"--column (there are: {', '.join(obs.kinds) or 'none'})"
        )
    return summarize_column(obs, column, by=by, values=values)


def _unit(obs: Table) -> tuple[str | None, dict[str, int] | None]:
    # Three made-up cells per column show which names the shared rule knows; only those are read.
    known = group_columns(pd.DataFrame({name: [0, 0, 1] for name in obs.kinds}))
    frame = pd.DataFrame({name: obs.column(name).to_numpy() for name in known})
    unit = split_unit(frame)
    if unit is None:
        return None, None
    sizes = frame[unit].value_counts()
    sizes = sizes[sizes > 0]
    return unit, {"n": len(sizes), "smallest": int(sizes.min()), "largest": int(sizes.max())}


def _quantiles(per_cell: Any) -> dict[str, float] | None:
    return None if per_cell is None else quantiles(per_cell)


def _columns(table: Table) -> list[dict[str, Any]]:
    return [
        {"name": name, "kind": kind, "n_categories": table.n_categories.get(name)}
        for name, kind in table.kinds.items()
    ]
