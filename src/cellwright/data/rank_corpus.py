"""Read cells in rank tokens from a Hugging Face ``datasets`` folder without loading it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.rank_corpus_writing import LENGTH, TOKENS, pyarrow
from cellwright.errors import DataError


@dataclass(frozen=True)
class RankBatch:
    """Some cells of a corpus: rows (n,) their positions; tokens of all of them one after another;
    offsets (n + 1,) where each begins."""

    rows: NDArray[np.int64]
    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]


class RankCorpus:
    """A folder of tokenized cells, such as Genecorpus-30M, mapped into memory.

    Attributes
    ----------
    lengths_n
        (n,) int32 tokens of each cell.
    columns
        Names of the other columns, in order.
    """

    def __init__(self, path: Path, table: Any) -> None:
        self.path = path
        self._table = table
        self.columns: list[str] = [n for n in table.column_names if n not in (TOKENS, LENGTH)]
        chunks = table.column(TOKENS).chunks
        self._starts = np.concatenate([[0], np.cumsum([len(c) for c in chunks])]).astype(np.int64)
        # Offsets and values of a chunk are views into the map, nothing is read here.
        self._chunks = [
            (np.asarray(c.offsets), c.values.to_numpy(zero_copy_only=True)) for c in chunks
        ]
        sizes = [np.diff(offsets).astype(np.int32) for offsets, _ in self._chunks]
        for (offsets, values), size in zip(self._chunks, sizes, strict=True):
            if size.size and (size.min() < 0 or offsets[0] < 0 or offsets[-1] > values.size):
                raise DataError(
                    f"{path} is damaged: a cell of it ends before it begins or too late"
                )
        self.lengths_n: NDArray[np.int32] = np.concatenate([*sizes, np.empty(0, np.int32)])

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a folder that :func:`datasets.Dataset.save_to_disk` or ``cellwright tokenize`` wrote.

        Only the lengths of the cells are read; tokens stay on disk until asked for.

        Raises
        ------
        DataError
            If it is no such folder, a file of it is missing or damaged, or it has no token lists.
        MissingExtra
            If pyarrow is not installed.
        """
        pa = pyarrow()
        path = Path(path)
        tables = []
        for file in _files(path):
            try:
                with pa.memory_map(str(file)) as source:
                    tables.append(pa.ipc.open_stream(source).read_all())
            except FileNotFoundError:
                raise DataError(f"{path} lacks {file.name}, which its state.json names") from None
            except (pa.ArrowException, OSError) as error:
                text = " ".join(str(error).split())[:150]
                raise DataError(f"{file} is damaged or no Arrow stream: {text}") from None
        try:
            table = pa.concat_tables(tables)
        except pa.ArrowException as error:
            raise DataError(f"the files of {path} differ in their columns: {error}") from None
        if TOKENS not in table.column_names:
            there = ", ".join(table.column_names)
            raise DataError(
                f"{path} has no column {TOKENS!r}, expected lists of tokens (it has {there})"
            )
        kind = table.schema.field(TOKENS).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_integer(
            kind.value_type
        ):
            raise DataError(
                f"the column {TOKENS} of {path} is {kind}, expected lists of whole numbers"
            )
        if table.num_rows == 0:
            raise DataError(f"{path} has no cells")
        if any(chunk.values.null_count for chunk in table.column(TOKENS).chunks):
            raise DataError(f"{path} has nulls among its tokens, expected whole numbers")
        if table.column(TOKENS).null_count:
            raise DataError(
                f"{path} has {table.column(TOKENS).null_count:,} cells without {TOKENS}"
            )
        return cls(path, table)

    def __len__(self) -> int:
        return int(self.lengths_n.size)

    def take(self, rows: NDArray[np.int64]) -> RankBatch:
        """The cells at some positions, in the order given.

        Raises
        ------
        DataError
            If a position lies outside the corpus.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not -1 < rows.min() <= rows.max() < len(self):
            wrong = rows[(rows < 0) | (rows >= len(self))][0]
            raise DataError(f"cell {wrong} was asked for, but {self.path} has {len(self):,} cells")
        offsets = np.concatenate([[0], np.cumsum(self.lengths_n[rows], dtype=np.int64)])
        tokens = np.empty(int(offsets[-1]), dtype=np.int32)
        chunk_of = np.searchsorted(self._starts, rows, side="right") - 1
        # In the order on disk, so that neighbours share a page.
        for i in np.argsort(rows, kind="stable").tolist():
            at, values = self._chunks[chunk_of[i]]
            row = rows[i] - self._starts[chunk_of[i]]
            tokens[offsets[i] : offsets[i + 1]] = values[at[row] : at[row + 1]]
        return RankBatch(rows, tokens, offsets.astype(np.int64))

    def batches(
        self,
        size: int,
        *,
        rows: NDArray[np.int64] | None = None,
        seed: int | None = None,
        epoch: int = 0,
    ) -> Iterator[RankBatch]:
        """Cells in batches of about equal length, so that little of a batch is padding.

        Parameters
        ----------
        size
            Cells in a batch; the last may have fewer.
        rows
            Positions of the cells wanted; default all.
        seed
            None: longest first, equal lengths in order of position. Else cells of equal length
            are mixed and the batches come in random order, anew for every ``epoch``.

        Raises
        ------
        DataError
            If ``size`` is below 1 or a position lies outside the corpus.
        """
        if size < 1:
            raise DataError(f"the batch size is {size}, expected at least 1")
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.int64)
        random = None if seed is None else np.random.default_rng([seed, epoch])
        if random is not None:
            wanted = random.permutation(wanted)
        if wanted.size and not -1 < wanted.min() <= wanted.max() < len(self):
            self.take(wanted)
        ordered = wanted[np.argsort(-self.lengths_n[wanted], kind="stable")]
        firsts = np.arange(0, ordered.size, size)
        for first in (firsts if random is None else random.permutation(firsts)).tolist():
            yield self.take(ordered[first : first + size])

    def column(self, name: str) -> pd.Series:
        """One of the other columns, whole.

        Raises
        ------
        DataError
            If there is none of that name; the nearest is given.
        """
        if name not in self._table.column_names:
            close = nearest(name, self.columns)
            hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(self.columns)}"
            raise DataError(f"{self.path} has no column {name!r}; {hint}")
        return pd.Series(self._table.column(name).to_pandas(), name=name)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"there is no folder {path}")
    if (path / "dataset_dict.json").is_file():
        parts = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir()))
        raise DataError(f"{path} holds several data sets ({parts}); name one of them")
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{path} is not a Hugging Face datasets folder: it has no state.json that lists its "
            "files; make one with `cellwright tokenize` or Dataset.save_to_disk"
        ) from None
    if state.get("_indices_data_files"):
        raise DataError(
            f"{path} keeps its rows in an order apart (indices); write it again after "
            "Dataset.flatten_indices()"
        )
    if not names:
        raise DataError(f"{path} lists no files in state.json")
    return [path / name for name in names]
