"""An inspection as plain text for people."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from cellwright.data.columns import (
    ColumnSummary,
    CrossTable,
    is_measurement,
    lists_well,
    quantiles,
)
from cellwright.data.tables import Table

if TYPE_CHECKING:
    from cellwright.data.inspect import Inspection

_WIDTH = 96
_NAMES = {
    "counts": "raw counts",
    "float-counts": "raw counts, stored as floats",
    "lognorm": "log-normalized",
    "scaled": "scaled",
    "unknown": "unknown scale",
}
_KINDS = {
    "ensembl": "Ensembl ids",
    "symbol": "symbols",
    "mixed": "Ensembl ids and symbols mixed",
    "unknown": "ids of no known kind",
}
_CROSS_WIDTH = 24


def as_text(found: Inspection) -> str:
    """The inspection as lines under 100 characters."""
    lines = [
        f"{Path(found.file).name}: {found.obs.n:,} cells × {found.var.n:,} genes",
        *_row("file", _file(found)),
        *_row("verdict", _verdict(found)),
    ]
    for facts in found.matrices:
        if facts is not found.judged:
            kind = _NAMES[facts.verdict.kind]
            lines += _row("", f"also {facts.name}: {kind}; {facts.verdict.evidence}")
    lines += _row("genes", _genes(found))
    lines += _row("split by", _split(found))
    lines += _per_cell(found)
    lines += _table("obs", found.obs) + _table("var", found.var)
    if found.obsm:
        shapes = ", ".join(f"{key} ({' × '.join(map(str, s))})" for key, s in found.obsm.items())
        lines += _row("obsm", shapes)
    if found.uns:
        lines += _row("uns", ", ".join(found.uns))
    if found.column:
        lines += ["", *_column(found.column)]
    else:
        lines += ["", "no label column was recognized; name one with --column"]
    lines += ["", "problems" if found.problems else "no problems found"]
    for problem in found.problems:
        lines += textwrap.wrap(problem, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def size(n_bytes: float) -> str:
    """A number of bytes in the unit people use ("3.7 MB")."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _row(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12)


def _file(found: Inspection) -> str:
    facts = found.judged
    if facts is None:
        return f"{size(found.file_bytes or 0)}, without a matrix"
    rows = {"csr": "sparse by cell (CSR)", "csc": "sparse by gene (CSC)", "dense": "dense"}
    parts = [] if found.file_bytes is None else [size(found.file_bytes)]
    parts += [
        f"{facts.name} {rows[facts.format]} {facts.dtype}",
        facts.compression or "not compressed",
    ]
    if found.file_bytes is None:
        parts.pop()
    parts += [f"{size(facts.memory_bytes)} in memory", f"{100 * facts.density:.3g} % not zero"]
    return ", ".join(parts)


def _verdict(found: Inspection) -> str:
    facts = found.judged
    if facts is None:
        return "unknown: there is no matrix"
    return f"{_NAMES[facts.verdict.kind]} in {facts.name}: {facts.verdict.evidence}"


def _genes(found: Inspection) -> str:
    genes = found.genes
    ids = "" if genes.id_from == "index" else f' in var["{genes.id_from}"]'
    symbols = "" if genes.symbol_from == "index" else f', symbols in var["{genes.symbol_from}"]'
    if genes.symbol_from == "index" and genes.id_from != "index":
        symbols = ", symbols as names"
    organism = f"; {genes.organism}" if genes.organism else "; organism unclear"
    example = ", ".join(genes.gene_id[:3].tolist())
    return f"{_KINDS[genes.kind]}{ids}{symbols} ({example}, …){organism}"


def _split(found: Inspection) -> str:
    if found.split_by is None or found.split_groups is None:
        return "single cells: no column names donors, libraries or batches to keep together"
    g = found.split_groups
    sizes = f"{g['smallest']:,} to {g['largest']:,} cells"
    if g["smallest"] == g["largest"]:
        sizes = f"{g['largest']:,} cells each"
    return f"{found.split_by}: {g['n']:,} groups of {sizes}"


def _per_cell(found: Inspection) -> list[str]:
    facts = found.judged
    if facts is None or facts.verdict.n_values == 0:
        return []
    names = ("min", "q05", "q25", "median", "q75", "q95", "max")
    titles = ("lowest", "5 %", "25 %", "median", "75 %", "95 %", "highest")
    lines = ["", "  per cell        " + "".join(f"{t:>11}" for t in titles)]
    what = "counts" if facts.verdict.are_counts else "sum of values"
    for title, per_cell in ((what, facts.sums), ("genes", facts.nonzeros)):
        if per_cell is None:
            lines += [f"  {title:<16}  not known without reading everything (stored by gene)"]
            continue
        q = quantiles(per_cell)
        if q is not None:
            lines += [f"  {title:<16}" + "".join(f"{_number(q[n]):>11}" for n in names)]
    if facts.sums is not None and not facts.whole:
        read = (
            "counts"
            if facts.nonzeros is not None and facts.nonzeros.size > facts.cells_read
            else "both"
        )
        lines += [f"  ({read}: of {facts.cells_read:,} cells spread over the file)"]
    return [*lines, ""]


def _number(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 100 or float(x).is_integer() else f"{x:.3g}"


def _table(name: str, table: Table) -> list[str]:
    described = []
    for column, kind in table.kinds.items():
        n = table.n_categories.get(column)
        # Joined by no-break spaces: a column stays on its line.
        text = f"{column} ({kind}{'' if n is None else f', {n:,}'})"
        described.append(text.replace(" ", "\N{NO-BREAK SPACE}"))
    return _row(name, ", ".join(described) or "no columns")


def _column(column: ColumnSummary) -> list[str]:
    gaps = f", {column.n_missing:,} missing" if column.n_missing else ""
    unused = f", {column.n_unused:,} more without a cell" if column.n_unused else ""
    lines = [
        f"column {column.name}: {column.kind}, {column.n_categories:,} different values{gaps}{unused}"
    ]
    if column.quantiles and is_measurement(column):
        q = column.quantiles
        lines += _row("range", f"{q['min']:.6g} to {q['max']:.6g}, median {q['median']:.6g}")
    if column.wanted is not None or lists_well(column):
        lines += _frequencies(column)
    lines += _row("examples", ", ".join(column.examples))
    return lines + (["", *cross_lines(column.name, column.cross)] if column.cross else [])


def _frequencies(column: ColumnSummary) -> list[str]:
    shown = column.wanted if column.wanted is not None else column.most_frequent
    hidden = column.n_categories - len(shown)
    rest = column.n - column.n_missing - sum(n for _, n in shown)
    shown = [*shown, (f"{hidden:,} {'other' if hidden == 1 else 'others'}", rest)][
        : len(shown) + (hidden > 0)
    ]
    width = min(60, max((len(value) for value, _ in shown), default=0))
    return [f"  {value:<{width}}  {n:>9,}  {_share(n / column.n)}" for value, n in shown]


def _share(share: float) -> str:
    return " <0.1 %" if 0 < share < 0.001 else f"{100 * share:5.1f} %"


def cross_lines(name: str, cross: CrossTable) -> list[str]:
    """A cross table as lines; what does not fit beside each other stands below."""
    width = min(40, max(len(r) for r in [name, *cross.rows]))
    cells = [max(7, min(_CROSS_WIDTH, len(c))) for c in cross.columns]
    lines = [f"{name} by {cross.by}"]
    first = 0
    while first < len(cells):
        # As many columns as fit a line; the others follow below.
        last = first + 1
        while (
            last < len(cells) and width + 2 + sum(2 + c for c in cells[first : last + 1]) <= _WIDTH
        ):
            last += 1
        widths = cells[first:last]
        heads = [
            f"  {_short(c, w):>{w}}" for c, w in zip(cross.columns[first:last], widths, strict=True)
        ]
        lines.append("  " + " " * width + "".join(heads))
        for row, counts in zip(cross.rows, cross.counts, strict=True):
            numbers = [f"  {n:>{w},}" for n, w in zip(counts[first:last], widths, strict=True)]
            lines.append(f"  {_short(row, width):<{width}}" + "".join(numbers))
        first = last
    return lines


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
