"""The tokens of a rank model: genes with their ids, medians and symbols, and the special tokens."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file
from cellwright.data.genes import gene_names, organism_of
from cellwright.errors import DataError
from cellwright.interfaces import RowBlock
from cellwright.tokens.nonzero_medians import NonzeroMedians
from cellwright.tokens.pickle_reader import read_pickled_dict
from cellwright.tokens.rank_coverage import likely_reason
from cellwright.tokens.vocabulary import Alignment, Vocabulary

PAD, MASK, CLS, EOS = "<pad>", "<mask>", "<cls>", "<eos>"
_SPECIAL = (PAD, MASK, CLS, EOS)
_HEADER = ["ensembl_id", "token", "median_nonzero", "symbols"]
_RARE_COLUMN = "n_cells"
# Medians of fewer cells than this are flagged.
RARE_CELLS = 10


@dataclass(frozen=True, eq=False)
class RankVocabulary:
    """Genes of a rank model in the order of their tokens.

    Attributes
    ----------
    gene_ids
        (g,) unique; Ensembl ids without version, else symbols.
    symbols
        (g,) symbols, else the ids.
    medians_g
        (g,) float64 above 0: the median of the nonzero counts per 10,000 of each gene.
    token_ids_g
        (g,) int64, distinct and none of the special ones.
    special
        Special token -> id; ``<pad>`` and ``<mask>`` always, ``<cls>`` and ``<eos>`` both or
        neither.
    n_cells_g
        (g,) int64 training cells that had the gene, None where the medians were given.

    Raises
    ------
    DataError
        If a special token is missing, an id or a token occurs twice, or a median is not above 0.
    """

    gene_ids: NDArray[np.str_]
    symbols: NDArray[np.str_]
    medians_g: NDArray[np.float64]
    token_ids_g: NDArray[np.int64]
    special: Mapping[str, int]
    n_cells_g: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("medians_g", np.float64), ("token_ids_g", np.int64)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        # Checks ids and symbols.
        genes = Vocabulary(self.gene_ids, self.symbols)
        object.__setattr__(self, "gene_ids", genes.gene_ids)
        object.__setattr__(self, "symbols", genes.symbols)
        _check_special(self.special)
        sizes = (len(genes), self.medians_g.size, self.token_ids_g.size)
        if len(set(sizes)) > 1:
            raise DataError(
                f"a rank vocabulary was given {sizes[0]} genes, {sizes[1]} medians and {sizes[2]} "
                "tokens; expected one of each per gene"
            )
        ids = np.concatenate([self.token_ids_g, list(self.special.values())])
        values, counts = np.unique(ids, return_counts=True)
        if counts.max() > 1 or values[0] < 0 or values[-1] >= 2**31:
            wrong = values[counts.argmax()] if counts.max() > 1 else values[[0, -1]]
            raise DataError(
                f"a rank vocabulary has the token id {wrong} twice or outside 0 to 2^31; every "
                "gene and special token needs one of its own"
            )
        bad = ~(np.isfinite(self.medians_g) & (self.medians_g > 0))
        if bad.any():
            raise DataError(
                f"the nonzero median of {self.gene_ids[bad][0]} is {self.medians_g[bad][0]}, "
                "expected a number above 0"
            )

    def __len__(self) -> int:
        return int(self.gene_ids.size)

    @property
    def n_tokens(self) -> int:
        """Rows that an embedding matrix needs: the highest token id and one."""
        return int(max(self.token_ids_g.max(), *self.special.values())) + 1

    @property
    def pad_id(self) -> int:
        return self.special[PAD]

    @property
    def mask_id(self) -> int:
        return self.special[MASK]

    @property
    def cls_id(self) -> int | None:
        return self.special.get(CLS)

    @property
    def eos_id(self) -> int | None:
        return self.special.get(EOS)

    @property
    def max_tokens(self) -> int:
        """The published input size: 4,096 for a series with ``<cls>``, else 2,048."""
        return 2048 if self.cls_id is None else 4096

    @property
    def rare(self) -> list[str]:
        """Symbols of the genes whose median comes from fewer than ten training cells."""
        if self.n_cells_g is None:
            return []
        return self.symbols[self.n_cells_g < RARE_CELLS].tolist()

    @cached_property
    def organism(self) -> str | None:
        """The organism that the names look like, None if unclear."""
        return organism_of(self.gene_ids, self.symbols)

    @cached_property
    def genes(self) -> Vocabulary:
        """The genes without medians and tokens."""
        return Vocabulary(self.gene_ids, self.symbols)

    def align(self, var: pd.DataFrame) -> Alignment:
        """Find the genes in the ``var`` table of some data by Ensembl id (versions stripped), then
        by symbol; columns that carry one name all belong to the gene.

        Raises
        ------
        DataError
            If the data have no genes, or not one gene is found; the sentence shows names of both
            sides and the organisms they look like.
        """
        try:
            return self.genes.align(var)
        except DataError as error:
            reason = likely_reason(self.gene_ids, self.symbols, gene_names(var)) if len(var) else ""
            raise DataError(f"{error} {reason}".strip()) from None

    @classmethod
    def from_training(
        cls,
        blocks: Iterable[RowBlock],
        gene_ids: NDArray[np.str_],
        symbols: NDArray[np.str_] | None = None,
        *,
        totals_n: NDArray[np.float64] | None = None,
        with_cls: bool = False,
        target_sum: float = 1e4,
        exact_values: int = 50_000_000,
    ) -> Self:
        """Medians of the training cells, in one pass; genes that no cell has are left out.

        Parameters
        ----------
        blocks
            Counts of training cells only, all genes measured.
        gene_ids, symbols
            Names of the columns; columns of one id are summed.
        totals_n
            All counts of every cell of the file, by position, where the columns are not all the
            genes measured.
        with_cls
            Whether ``<cls>`` and ``<eos>`` are among the special tokens.
        exact_values
            As for :class:`~cellwright.tokens.nonzero_medians.NonzeroMedians`.

        Raises
        ------
        DataError
            If there are no cells or none has counts.
        """
        ids = np.asarray(gene_ids, dtype=np.str_)
        named, first, group = np.unique(ids, return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.argsort(order)[group]
        store = NonzeroMedians(named.size, target_sum=target_sum, exact_values=exact_values)
        gather = sp.csr_matrix((np.ones(ids.size), (np.arange(ids.size), place)))
        for block in blocks:
            counts = sp.csr_matrix(block.counts_ng)
            if named.size < ids.size:
                counts = sp.csr_matrix(counts @ gather)
            store.add(counts, None if totals_n is None else totals_n[block.rows])
        medians_g, cells_g = store.medians()
        seen = np.flatnonzero(cells_g > 0)
        if seen.size == 0:
            raise DataError(
                f"nonzero medians need cells with counts, {store.n_cells:,} cells × "
                f"{named.size:,} genes without any were given"
            )
        column = first[order][seen]
        special = {name: i for i, name in enumerate(_SPECIAL if with_cls else _SPECIAL[:2])}
        return cls(
            gene_ids=ids[column],
            symbols=(ids if symbols is None else np.asarray(symbols, dtype=np.str_))[column],
            medians_g=medians_g[seen],
            token_ids_g=len(special) + np.arange(seen.size),
            special=special,
            n_cells_g=cells_g[seen],
        )

    @classmethod
    def from_pickles(
        cls, tokens: Path | str, medians: Path | str, symbols: Path | str | None = None
    ) -> Self:
        """The vocabulary of a published series from its pickled dictionaries, which are read
        without being unpickled.

        Parameters
        ----------
        tokens
            Gene id or special token -> token id (``token_dictionary``).
        medians
            Gene id -> nonzero median (``gene_median_dictionary``); further genes are ignored.
        symbols
            Symbol -> gene id (``gene_name_id_dict``).

        Raises
        ------
        DataError
            If a file cannot be read or holds anything but text and numbers, a gene lacks its
            median, or a special token is missing.
        """
        token_of = read_pickled_dict(tokens)
        median_of = read_pickled_dict(medians)
        names = {} if symbols is None else read_pickled_dict(symbols)
        symbol_of: dict[str, str] = {}
        for symbol, gene in names.items():
            symbol_of.setdefault(str(gene), symbol)
        genes = [g for g in token_of if not _is_special(g)]
        lacking = [g for g in genes if g not in median_of]
        if lacking:
            raise DataError(
                f"{medians} has no median for {len(lacking):,} of the {len(genes):,} genes of "
                f"{tokens}, e.g. {lacking[0]}; give the two dictionaries of one series"
            )
        _check_tokens(token_of, tokens)
        return cls(
            gene_ids=np.array(genes, dtype=np.str_),
            symbols=np.array([symbol_of.get(g, g) for g in genes], dtype=np.str_),
            medians_g=np.array([float(median_of[g]) for g in genes]),
            token_ids_g=np.array([token_of[g] for g in genes], dtype=np.int64),
            special={g: int(i) for g, i in token_of.items() if _is_special(g)},
        )

    @classmethod
    def from_tsv(cls, path: Path | str) -> Self:
        """Read what :meth:`save` writes: the columns ensembl_id, token, median_nonzero, symbols,
        and n_cells where medians were computed; plain or gzip.

        Raises
        ------
        DataError
            If the file is missing or is not such a table; the sentence names the line.
        """
        path = Path(path)
        rows = _rows(path)
        width = len(_HEADER)
        if not rows or rows[0][:width] != _HEADER:
            found = "\t".join(rows[0])[:60] if rows else "an empty file"
            raise DataError(
                f"{path} is not a rank vocabulary: it starts with {found!r}, expected the columns "
                f"{', '.join(_HEADER)}"
            )
        counted = rows[0][width:] == [_RARE_COLUMN]
        special: dict[str, int] = {}
        genes: list[tuple[str, str, float, int, int]] = []
        for number, row in enumerate(rows[1:], start=2):
            try:
                name, token, median, symbol, *rest = row
                if _is_special(name):
                    special[name] = int(token)
                else:
                    cells = int(rest[0]) if counted else 0
                    genes.append((name, symbol or name, float(median), int(token), cells))
            except (ValueError, IndexError):
                shown = "\t".join(row)[:60]
                raise DataError(
                    f"{path} is damaged: line {number} is {shown!r}, expected a gene, its token, "
                    "its median and its symbol"
                ) from None
        if not genes:
            raise DataError(f"{path} has no genes")
        ids, symbols, medians, tokens, cells_g = zip(*genes, strict=True)
        try:
            return cls(
                gene_ids=np.array(ids, dtype=np.str_),
                symbols=np.array(symbols, dtype=np.str_),
                medians_g=np.array(medians),
                token_ids_g=np.array(tokens, dtype=np.int64),
                special=special,
                n_cells_g=np.array(cells_g, dtype=np.int64) if counted else None,
            )
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    load = from_tsv

    def save(self, path: Path | str) -> None:
        """Write all of it as tab-separated text, atomically; medians are kept to the last bit."""
        with (
            atomic_file(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as handle,
        ):
            writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
            counted = self.n_cells_g is not None
            writer.writerow([*_HEADER, *([_RARE_COLUMN] if counted else [])])
            blank = [""] if counted else []
            for name, token in self.special.items():
                writer.writerow([name, token, "", "", *blank])
            columns: list[list[Any]] = [
                self.gene_ids.tolist(),
                self.token_ids_g.tolist(),
                [repr(m) for m in self.medians_g.tolist()],
                self.symbols.tolist(),
            ]
            if self.n_cells_g is not None:
                columns.append(self.n_cells_g.tolist())
            writer.writerows(zip(*columns, strict=True))


def _is_special(name: str) -> bool:
    return name.startswith("<") and name.endswith(">")


def _check_special(special: Mapping[str, int]) -> None:
    there = ", ".join(special) or "none"
    lacking = [name for name in (PAD, MASK) if name not in special]
    if lacking:
        raise DataError(
            f"a rank vocabulary needs the special tokens {PAD} and {MASK}, without "
            f"{' and '.join(lacking)} it was given (special tokens there: {there}); give the token dictionary of a published "
            "series, or compute one from cells with --vocabulary fit"
        )
    if (CLS in special) != (EOS in special):
        raise DataError(
            f"a rank vocabulary has {CLS} and {EOS} or neither; special tokens there: {there}"
        )


def _check_tokens(token_of: Mapping[str, Any], path: Path | str) -> None:
    for name, token in token_of.items():
        if not isinstance(token, int):
            raise DataError(f"{path} gives {name} the token {token!r}, expected a whole number")


def _rows(path: Path) -> list[list[str]]:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return list(csv.reader(io.StringIO(data.decode("utf-8")), delimiter="\t"))
    except FileNotFoundError:
        raise DataError(f"no rank vocabulary at {path}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a rank vocabulary: {error}") from None
