"""Write cells in rank tokens as a Hugging Face ``datasets`` folder, a block at a time."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.errors import DataError, MissingExtra

TOKENS, LENGTH = "input_ids", "length"
SHARD = "data-00000-of-00001.arrow"
# So many cells in a record batch: what is read together from a memory map.
_BATCH = 1000


@dataclass
class CorpusWriter:
    """Cells written so far; made by :func:`writing_corpus`."""

    columns: Sequence[str]
    n_cells: int = 0
    n_tokens: int = 0
    _writer: Any = None
    _path: Path = Path()
    _digest: Any = field(default_factory=hashlib.sha256)
    _features: dict[str, Any] = field(default_factory=dict)
    _kinds: dict[str, str] = field(default_factory=dict)

    def add(self, tokens: NDArray[np.int32], offsets: NDArray[np.int64], obs: pd.DataFrame) -> None:
        """Append cells.

        Parameters
        ----------
        tokens, offsets
            Token ids of all cells one after another, and (n + 1,) where each begins.
        obs
            One row per cell with the columns chosen; texts and categories are written as text,
            missing ones as null.

        Raises
        ------
        DataError
            If a column is of no kind that can be written.
        """
        pa = pyarrow()
        offsets = np.asarray(offsets, dtype=np.int64)
        values = np.ascontiguousarray(tokens, dtype=np.int32)
        self._digest.update(values)
        self._digest.update(offsets)
        typed = {name: self._column(obs[name]) for name in self.columns}
        for first in range(0, offsets.size - 1, _BATCH):
            last = min(first + _BATCH, offsets.size - 1)
            part = offsets[first : last + 1]
            lists = pa.ListArray.from_arrays(
                pa.array((part - part[0]).astype(np.int32)), pa.array(values[part[0] : part[-1]])
            )
            arrays = {TOKENS: lists, LENGTH: pa.array(np.diff(part))}
            for name, (data, kind) in typed.items():
                arrays[name] = pa.array(data[first:last], type=kind, from_pandas=True)
            batch = pa.RecordBatch.from_pydict(arrays)
            if self._writer is None:
                self._start(batch.schema)
            self._writer.write_batch(batch)
        self.n_cells += offsets.size - 1
        self.n_tokens += values.size

    def _column(self, series: pd.Series) -> tuple[NDArray[Any], Any]:
        pa = pyarrow()
        name = str(series.name)
        if pd.api.types.is_bool_dtype(series.dtype):
            found = (series.to_numpy(), pa.bool_())
        elif pd.api.types.is_integer_dtype(series.dtype):
            found = (series.to_numpy(), pa.int64())
        elif pd.api.types.is_float_dtype(series.dtype):
            # A missing number stays NaN, as datasets itself writes it.
            found = (series.to_numpy(dtype=np.float64, na_value=np.nan), pa.float64())
            return self._same(name, found)
        else:
            texts = [None if pd.isna(value) else str(value) for value in series.tolist()]
            found = (np.array(texts, dtype=object), pa.string())
        return self._same(name, found)

    def _same(self, name: str, found: tuple[NDArray[Any], Any]) -> tuple[NDArray[Any], Any]:
        kind = self._kinds.setdefault(name, str(found[1]))
        if kind != str(found[1]):
            raise DataError(
                f"column {name!r} is {kind} in one block of cells and {found[1]} in another"
            )
        return found

    def _start(self, schema: Any) -> None:
        pa = pyarrow()
        self._features = {name: _feature(schema.field(name).type) for name in schema.names}
        info = json.dumps({"info": {"features": self._features}})
        self._writer = pa.ipc.new_stream(
            str(self._path / SHARD), schema.with_metadata({"huggingface": info})
        )

    def _finish(self) -> None:
        if self._writer is None:
            raise DataError("a corpus needs at least one cell with tokens, none was given")
        self._writer.close()
        # As datasets writes them: its version 2 and later read the folder.
        info = {
            "citation": "",
            "description": "",
            "features": self._features,
            "homepage": "",
            "license": "",
        }
        state = {
            "_data_files": [{"filename": SHARD}],
            "_fingerprint": self._digest.hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        for name, content in (("dataset_info.json", info), ("state.json", state)):
            (self._path / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def writing_corpus(folder: Path, columns: Iterable[str] = ()) -> Iterator[CorpusWriter]:
    """Write cells into an existing empty folder that ``datasets.load_from_disk`` opens.

    The columns are Geneformer's: ``input_ids`` (list of int32), ``length`` (int64), then
    ``columns`` of ``obs``.

    Raises
    ------
    DataError
        If a column would stand twice, or no cell was written.
    MissingExtra
        If pyarrow is not installed.
    """
    chosen = [str(name) for name in columns]
    taken = [name for name in chosen if name in (TOKENS, LENGTH)]
    if taken or len(set(chosen)) < len(chosen):
        raise DataError(
            f"the obs columns {', '.join(chosen)} are asked for, but each must stand once and "
            f"none may be called {TOKENS} or {LENGTH}"
        )
    pyarrow()
    writer = CorpusWriter(chosen, _path=folder)
    try:
        yield writer
        writer._finish()
    finally:
        if writer._writer is not None:
            writer._writer.close()


def pyarrow() -> Any:
    """The package pyarrow, with its streams.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        importlib.import_module("pyarrow.ipc")
        return importlib.import_module("pyarrow")
    except ImportError:
        raise MissingExtra(
            "pyarrow", extra="hf", purpose="a Hugging Face datasets folder"
        ) from None


def _feature(kind: Any) -> Mapping[str, Any]:
    names = {"double": "float64"}
    if str(kind).startswith("list<"):
        return {"feature": {"dtype": str(kind.value_type), "_type": "Value"}, "_type": "Sequence"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
