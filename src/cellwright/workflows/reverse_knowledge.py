"""Gene knowledge as a user names it: ``positions``, ``tf:FILE``, ``gmt:FILE``, ``vectors:RUN`` …"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellwright.config import nearest
from cellwright.data.gene_sets import read_gmt
from cellwright.data.gene_tables import read_gene_table, text_of
from cellwright.data.genes import GeneNames
from cellwright.errors import DataError, SettingsError
from cellwright.interfaces import GeneVectors
from cellwright.perturbation.gene_knowledge import GeneKnowledge, joined_knowledge
from cellwright.perturbation.gene_knowledge_sources import (
    KnownAs,
    edge_knowledge,
    known_as,
    number_knowledge,
    position_knowledge,
    set_knowledge,
)
from cellwright.perturbation.gene_positions import gene_positions
from cellwright.representations.loading import load

SOURCES = ("positions", "fourier", "gmt", "tf", "vectors", "table", "var")
_REGULATORS = ("tf", "source", "regulator", "transcription_factor")
_TARGETS = ("target", "target_gene", "gene")
_SIGNS = ("mor", "regulation", "effect", "sign", "weight")
_ENDINGS = re.compile(r"(\.(tsv|csv|txt|gmt|gtf))?(\.gz)?$", re.IGNORECASE)
_WORDS = {"activation": 1.0, "repression": -1.0, "inhibition": -1.0}


def read_knowledge(
    wanted: Sequence[str],
    genes: GeneNames,
    candidates: Sequence[str],
    var: pd.DataFrame,
    *,
    gene_table: Path | str | None = None,
    build: str = "GRCh38",
) -> tuple[GeneKnowledge, tuple[str, ...]]:
    """Read what is known of the measured and the candidate genes; labels and cells are not given.

    Parameters
    ----------
    wanted
        ``positions`` (chromosome and relative position) and ``fourier`` (waves of megabases),
        from ``gene_table`` or with a table of their own as in ``positions:FILE``; ``gmt:FILE``
        (gene sets); ``tf:FILE`` (regulators and targets); ``vectors:RUN`` (gene vectors of a run);
        ``table:FILE`` (the numbers of a table whose first column names genes); ``var`` or
        ``var:COLUMN,COLUMN`` (numbers in ``var`` of the cells).
    genes, var
        The measured genes.
    gene_table, build
        Coordinates, as in :func:`~cellwright.perturbation.gene_positions.gene_positions`.

    Returns
    -------
    The knowledge, and for each source in a sentence how many genes it knows.

    Raises
    ------
    SettingsError
        For an unknown source, or one without the file that it needs.
    DataError
        If a file cannot be read or knows none of the genes.
    """
    if not wanted:
        raise SettingsError(f"no gene knowledge is named; there are {', '.join(SOURCES)}")
    names = known_as(genes, candidates)
    kinds = Counter(spec.partition(":")[0] for spec in wanted)
    parts, notes = [], []
    for spec in wanted:
        kind, _, rest = spec.partition(":")
        source = kind if kinds[kind] == 1 else f"{kind}:{_stem(rest)}"
        part = _read(kind, rest, spec, source, genes, candidates, names, var, gene_table, build)
        parts.append(part)
        notes.append(_sentence(part, source))
    return joined_knowledge(parts), tuple(notes)


def _read(
    kind: str,
    rest: str,
    spec: str,
    source: str,
    genes: GeneNames,
    candidates: Sequence[str],
    names: KnownAs,
    var: pd.DataFrame,
    gene_table: Path | str | None,
    build: str,
) -> GeneKnowledge:
    if kind not in SOURCES:
        close = nearest(kind, SOURCES)
        raise SettingsError(
            f"no gene knowledge {spec!r}: "
            + (f"did you mean {close!r}?" if close else f"known: {', '.join(SOURCES)}")
        )
    if kind in ("positions", "fourier"):
        table = rest or gene_table
        if not table:
            raise SettingsError(
                f"the gene knowledge {kind!r} needs coordinates of genes: give --gene-table, or "
                f"{kind}:FILE"
            )
        return position_knowledge(
            gene_positions(genes.surest_g.tolist(), table, build=build),
            gene_positions(candidates, table, build=build),
            fourier=kind == "fourier",
        )
    if kind == "var":
        return _of_var(source, rest, var, names)
    if not rest:
        what = "RUN" if kind == "vectors" else "FILE"
        raise SettingsError(f"the gene knowledge {kind!r} needs a {what.lower()}: {kind}:{what}")
    if kind == "gmt":
        return set_knowledge(source, read_gmt(rest), names)
    if kind == "tf":
        return edge_knowledge(source, read_edges(rest), names)
    if kind == "table":
        return _of_table(source, rest, names)
    return _of_run(source, rest, names)


def read_edges(path: Path | str) -> list[tuple[str, str, float]]:
    """Regulator, target and sign of each row of a table such as those of DoRothEA or TRRUST.

    Columns by their usual names, else the first two; the sign is 1 where none is given or known.

    Raises
    ------
    DataError
        If it cannot be read, has one column, or a row has no regulator or target.
    """
    table = read_gene_table(path)
    by_lower = {c.lower(): c for c in reversed(table.columns.tolist())}
    if len(table.columns) < 2:
        raise DataError(
            f"{path} has the one column {table.columns[0]!r}, expected regulators and targets"
        )
    chosen = [
        next((by_lower[n] for n in known if n in by_lower), table.columns[place])
        for place, known in enumerate((_REGULATORS, _TARGETS))
    ]
    a, b = (text_of(table[c]).tolist() for c in chosen)
    for row, (one, other) in enumerate(zip(a, b, strict=True), start=1):
        if not (one and other):
            raise DataError(
                f"row {row} of {path} has no regulator or no target ({one!r}, {other!r})"
            )
    column = next((by_lower[n] for n in _SIGNS if n in by_lower), None)
    sign = [1.0] * len(a) if column is None else [_sign(v) for v in text_of(table[column])]
    return list(zip(a, b, sign, strict=True))


def _sign(text: str) -> float:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return -1.0 if float(text) < 0 else 1.0
    except ValueError:  # such as Unknown in TRRUST
        return 1.0


def _of_var(source: str, rest: str, var: pd.DataFrame, names: KnownAs) -> GeneKnowledge:
    """Numbers of the measured genes; a candidate that is not measured has none."""
    numeric = [c for c in var.columns if pd.api.types.is_numeric_dtype(var[c])]
    chosen = [c.strip() for c in rest.split(",") if c.strip()] or numeric
    for column in chosen:
        if column not in numeric:
            close = nearest(column, numeric)
            raise DataError(
                f"var has no column of numbers {column!r}"
                + (f": did you mean {close!r}?" if close else f"; it has {', '.join(numeric)}")
            )
    if not chosen:
        raise DataError("var has no column of numbers, which the gene knowledge 'var' is made of")
    values = var[chosen].to_numpy(dtype=np.float64)
    return number_knowledge(source, chosen, names.measured_g, values, names)


def _of_table(source: str, path: str, names: KnownAs) -> GeneKnowledge:
    table = read_gene_table(path)
    columns, values = [], []
    for column in table.columns[1:]:
        number = pd.to_numeric(pd.Series(text_of(table[column])), errors="coerce")
        if number.notna().any():
            columns.append(column)
            values.append(number.to_numpy(dtype=np.float64))
    if not columns:
        raise DataError(
            f"{path} has no column of numbers after the first, which names genes; its columns are "
            f"{', '.join(table.columns)}"
        )
    called = [(name,) for name in text_of(table[table.columns[0]]).tolist()]
    return number_knowledge(source, columns, called, np.column_stack(values), names)


def _of_run(source: str, path: str, names: KnownAs) -> GeneKnowledge:
    run = load(path)
    if not isinstance(run, GeneVectors):
        raise DataError(f"{path} holds no vectors of genes; give a pretraining or ldvae run")
    ids, vectors_gd = run.gene_vectors()
    # Screens name genes by symbol, runs often by id: what a run knows of both is used.
    vocabulary = getattr(run, "vocabulary", None)
    symbols = list(getattr(vocabulary, "symbols", ids))
    called = [tuple(dict.fromkeys(p)) for p in zip(ids, map(str, symbols), strict=True)]
    titles = [str(d) for d in range(vectors_gd.shape[1])]
    return number_knowledge(source, titles, called, vectors_gd, names)


def _stem(path: str) -> str:
    return _ENDINGS.sub("", Path(path).name).replace(" ", "_")


def _sentence(part: GeneKnowledge, source: str) -> str:
    g, c = len(part.measured_gd), len(part.candidate_cd)
    flag = f"{source} known"
    if flag in part.names_d:
        at = part.names_d.index(flag)
        g, c = int(part.measured_gd[:, at].sum()), int(part.candidate_cd[:, at].sum())
    return (
        f"Gene knowledge {source}: {len(part.names_d)} columns; it knows {g} of "
        f"{len(part.measured_gd)} measured genes and {c} of {len(part.candidate_cd)} candidates."
    )
