"""A CSV table of any length, read in pieces of text: delimiter, encoding and packing are found out."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd

from cellwright.config import nearest
from cellwright.errors import DataError

_DELIMITERS = (",", "\t", ";", "|")
# pandas passes over fields that stand behind the last column, unless there is a name for them.
_BEYOND = "\0beyond"
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel workbook or zip archive (save the sheet as CSV, or unpack it)",
    b"\x89HDF": "an HDF5 file, not a table of text",
    b"PAR1": "a Parquet file (write it as CSV with pandas)",
    b"<": "a web page or XML (the download failed?)",
    b"version https://git-lfs": "a Git LFS pointer (fetch the file itself with git lfs pull)",
}


@dataclass(frozen=True)
class CsvTable:
    """A table of text with a header, not read yet.

    ``columns``: the names in the header, without surrounding spaces; a second column of one name
    is called ``NAME.1``, one without a name ``Unnamed: 0``, as pandas does. ``at_once``: values
    read in one piece; a million strings take about 60 MB.
    """

    path: Path
    columns: list[str]
    delimiter: str
    encoding: str
    compression: Literal["gzip"] | None
    at_once: int = 1_000_000

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return self.path.name

    def require(self, column: str) -> None:
        """Raise DataError, naming the nearest, if there is no column of this name."""
        if column in self.columns:
            return
        close = nearest(column, self.columns)
        hint = f"did you mean {close!r}? There are" if close else "there are"
        raise DataError(
            f"{self.path} has no column {column!r}: {hint}: {', '.join(self.columns[:30])}"
        )

    def chunks(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The rows of some columns in pieces, as they are written: str, an empty one is missing.

        Raises
        ------
        DataError
            If a column is not there, or a row is damaged: too many fields, a quote without end,
            text in another encoding, a packed file that breaks off.
        """
        for column in columns:
            self.require(column)
        wanted = list(dict.fromkeys(columns))
        try:
            with (
                _binary(self.path, self.compression) as file,
                io.TextIOWrapper(file, encoding=self.encoding, newline="") as text,
            ):
                _first_record(text)
                reader = pd.read_csv(
                    _Rows(text, self.delimiter * len(self.columns)),  # type: ignore[call-overload]
                    sep=self.delimiter,
                    names=[*self.columns, _BEYOND],
                    header=0,
                    index_col=False,
                    usecols=[*wanted, _BEYOND],
                    # Text only: a value guessed piece by piece would be a number here, text there.
                    dtype=object,
                    na_filter=False,
                    skipinitialspace=True,
                    chunksize=max(1, self.at_once // max(len(wanted), 1)),
                )
                for piece in reader:
                    self._refuse_long_rows(piece)
                    yield piece[wanted]
        except UnicodeDecodeError as error:
            raise _wrong_encoding(self.path, error) from error
        except (pd.errors.ParserError, csv.Error) as error:
            why = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
            raise DataError(
                f"{self.path} is damaged: {why}; a value that holds {self.delimiter!r} must stand "
                'in quotes ("…")'
            ) from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{self.path} is truncated or damaged inside: {error}; copy or download it again"
            ) from error
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _refuse_long_rows(self, piece: pd.DataFrame) -> None:
        beyond = piece[_BEYOND] != ""
        if beyond.any():
            row = int(piece.index[beyond][0])
            raise DataError(
                f"{self.path} is damaged: row {row + 1:,} after the header has more fields than the "
                f"header ({beyond.sum():,} rows here; {piece[_BEYOND][row]!r} is one too many); a "
                f"value that holds {self.delimiter!r} must stand in quotes"
            )


class _Rows:
    """The rest of a file behind a header of one field more than it has columns.

    That header makes pandas keep a field too many, in whatever row it comes; without it the values
    of a row with an unquoted delimiter would shift, and nobody would know.
    """

    def __init__(self, text: IO[str], delimiters: str) -> None:
        self._header, self._text = delimiters + "\n", text

    def read(self, size: int = -1) -> str:
        if self._header:
            header, self._header = self._header, ""
            return header
        return self._text.read(size)

    def __iter__(self) -> Iterator[str]:
        return iter(self._text)


def open_csv(path: Path | str) -> CsvTable:
    """Look at the head of a CSV: comma, tab, semicolon or bar; UTF-8 or UTF-16; packed with gzip.

    The delimiter is the one that stands most often in the header, outside quotes.

    Raises
    ------
    DataError
        If there is no such file, it may not be read, is no table of text, or is empty.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a table such as cell_metadata.csv")
    try:
        with path.open("rb") as file:
            start = file.read(4)
            compression: Literal["gzip"] | None = "gzip" if start[:2] == b"\x1f\x8b" else None
        with _binary(path, compression) as file:
            head = file.read(4096)
            encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            _refuse_other(path, head, encoding)
        with (
            _binary(path, compression) as file,
            io.TextIOWrapper(file, encoding=encoding, newline="") as text,
        ):
            header = _first_record(text)
            delimiter = max(_DELIMITERS, key=lambda d: _count_outside_quotes(header, d))
            names = _fields(header, delimiter)
            first = next(csv.reader(text, delimiter=delimiter, skipinitialspace=True), [])
    except FileNotFoundError:
        raise DataError(f"there is no table {path}; check the path") from None
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, error) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is truncated or damaged inside: {error}; copy or download it again"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not any(names):
        raise DataError(f"{path} is empty; expected a header with the names of the columns")
    if len(first) == len(names) + 1:
        # R's write.table names no column for the names of the rows; some programs end a row with
        # a delimiter.
        names = [*names, ""] if first[-1] == "" else ["row_names", *names]
    return CsvTable(path, _distinct(names), delimiter, encoding, compression)


def _binary(path: Path, compression: str | None) -> Any:
    return gzip.open(path, "rb") if compression else path.open("rb")


def _refuse_other(path: Path, head: bytes, encoding: str) -> None:
    for start, what in _NOT_TEXT.items():
        if head.startswith(start):
            raise DataError(f"{path} is not a CSV table: it is {what}")
    if encoding != "utf-16" and b"\0" in head:
        raise DataError(f"{path} is not a CSV table: it holds bytes that are no text")


def _first_record(text: IO[str]) -> str:
    """The first line that is not blank, with the lines after it while a quote is open."""
    record = ""
    while line := text.readline():
        record += line
        if record.strip() and record.count('"') % 2 == 0:
            return record
        if not record.strip():
            record = ""
        if len(record) > 1 << 20:
            break
    return record


def _count_outside_quotes(header: str, delimiter: str) -> int:
    return sum(part.count(delimiter) for part in header.split('"')[::2])


def _fields(header: str, delimiter: str) -> list[str]:
    found = next(csv.reader(io.StringIO(header), delimiter=delimiter, skipinitialspace=True), [])
    return [name.strip() for name in found]


def _distinct(names: list[str]) -> list[str]:
    out: list[str] = []
    for position, given in enumerate(names):
        name, copies = given or f"Unnamed: {position}", 0
        while name in out:
            copies += 1
            name = f"{given}.{copies}"
        out.append(name)
    return out


def _wrong_encoding(path: Path, error: UnicodeDecodeError) -> DataError:
    byte = error.object[error.start]
    return DataError(
        f"{path} is not UTF-8 text: it holds the byte 0x{byte:02x}; save it as UTF-8 "
        f"(iconv -f latin1 -t utf8 {path.name})"
    )


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}")
