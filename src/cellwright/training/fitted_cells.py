"""The cells a run was made from, their part and their hash: what tells clean cells from seen ones."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file
from cellwright.data.hashes import cell_hashes
from cellwright.errors import RunError


@dataclass(frozen=True)
class FittedCells:
    """names_n: cell names; parts_n: train, val or test; hashes_n: hash of the counts of the
    vocabulary's genes (``data.hashes.cell_hashes``), zero genes included, or of the cell's tokens
    (``rank_hashes``)."""

    names_n: NDArray[np.str_]
    parts_n: NDArray[np.str_]
    hashes_n: NDArray[np.uint64]

    def save(self, path: Path) -> None:
        """Write ``cells.txt.gz``: name, part and hash, tab-separated."""
        lines = (
            f"{name}\t{part}\t{value:016x}\n"
            for name, part, value in zip(
                self.names_n.tolist(), self.parts_n.tolist(), self.hashes_n.tolist(), strict=True
            )
        )
        # No time stamp and no file name inside: equal cells give equal bytes.
        with (
            atomic_file(path) as temporary,
            temporary.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        ):
            packed.write("".join(lines).encode("utf-8"))

    @classmethod
    def load(cls, path: Path) -> FittedCells:
        """Read what ``save`` wrote.

        Raises
        ------
        RunError
            If the file is missing or damaged.
        """
        try:
            with gzip.open(path, "rt", encoding="utf-8") as handle:
                rows = [line.rstrip("\n").rsplit("\t", 2) for line in handle]
            if not rows:
                raise ValueError("it is empty")
            names, parts, hashes = zip(*rows, strict=True)
            values = np.array([int(h, 16) for h in hashes], dtype=np.uint64)
        except FileNotFoundError:
            raise RunError(
                f"{path} is missing: the run cannot say which cells it has seen"
            ) from None
        except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
            raise RunError(f"{path} is not a list of cells of a run: {error}") from None
        return cls(np.array(names, dtype=np.str_), np.array(parts, dtype=np.str_), values)

    def seen(
        self, names_n: NDArray[np.str_], hashes_n: NDArray[np.uint64], *, same_genes: bool
    ) -> NDArray[np.str_]:
        """Per cell ``clean`` or ``seen-unlabelled`` (it was trained on, or chose the best epoch).

        A cell is seen if its counts equal those of a seen cell, whatever their names; or, where
        the data lack genes of the vocabulary (``same_genes`` False) and counts cannot be compared,
        if it has the name of a seen cell.
        """
        fitted = self.parts_n != "test"
        known_n = np.isin(hashes_n, self.hashes_n[fitted])
        if not same_genes:
            known_n |= np.isin(names_n, self.names_n[fitted])
        return np.where(known_n, "seen-unlabelled", "clean")


def rank_hashes(ids_t: NDArray[np.int32], offsets_n: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One 64-bit hash per cell of its (place, token) pairs: a cell in ranks has no counts any more.

    Parameters
    ----------
    ids_t, offsets_n
        Tokens of all cells one after another, and (n + 1,) where each begins.
    """
    lengths_n = np.diff(offsets_n)
    places_t = np.arange(len(ids_t)) - np.repeat(offsets_n[:-1], lengths_n)
    shape = (len(lengths_n), int(lengths_n.max(initial=1)))
    # Tokens from 1 on, because what is 0 is not there.
    tokens_t = ids_t.astype(np.float64) + 1
    return cell_hashes(sp.csr_matrix((tokens_t, places_t, offsets_n), shape=shape))
