"""A split that can be stored, found again and verified: the parts, the settings and their hash."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import dump_toml, read_toml
from cellwright.data.atomic import atomic_file
from cellwright.data.reading import record
from cellwright.data.split_hash import PARTS, difference, split_hash, split_lines
from cellwright.errors import DataError, RunError

SCHEMA = "cellwright.split/1"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Which cell is in which part, how that was decided, and a hash of both.

    assignment: obs_name -> ``train``, ``val`` or ``test`` (empty for a split loaded from a
    ``split.toml`` without its list of cells). by: the column whose groups stay whole, None for
    single cells. note: what could not be done as asked, in sentences; empty if nothing.
    counts: cells per part. hash: SHA-256 over the sorted ``obs_name<TAB>part`` lines and the
    settings, in hexadecimal.
    """

    assignment: pd.Series
    by: str | None
    label: str | None
    seed: int
    val: float
    test: float
    note: str
    counts: dict[str, int]
    hash: str

    @classmethod
    def make(
        cls,
        assignment: pd.Series,
        *,
        by: str | None,
        label: str | None,
        seed: int,
        val: float,
        test: float,
        note: str = "",
    ) -> Self:
        """A split from its assignment and settings; counts and hash are worked out here."""
        sizes = assignment.value_counts()
        return cls(
            assignment=assignment,
            by=by,
            label=label,
            seed=seed,
            val=val,
            test=test,
            note=note,
            counts={part: int(sizes.get(part, 0)) for part in PARTS},
            hash=split_hash(assignment, _settings(by, label, seed, val, test)),
        )

    @classmethod
    def from_obs(cls, cells: AnnData) -> Self:
        """The split that stands in ``obs["split"]``, with its settings where they were recorded.

        If cells were dropped or moved since, that is logged and stands in ``note``: what is in
        ``obs`` counts, because a user may bring a split of their own.

        Raises
        ------
        DataError
            If there is no ``obs["split"]``, or it holds other values than the three parts.
        """
        assignment = _column(cells.obs)
        facts = _recorded(cells)
        found = cls.make(
            assignment,
            by=facts.get("by"),
            label=facts.get("label"),
            seed=int(facts.get("seed", 0)),
            val=float(facts.get("val", (assignment == "val").mean())),
            test=float(facts.get("test", (assignment == "test").mean())),
            note=str(facts.get("note", "obs['split'] was not made by cellwright.")),
        )
        if "hash" in facts and facts["hash"] != found.hash:
            changed = (
                f"obs['split'] is not the split recorded here (hash {facts['hash'][:12]}, now "
                f"{found.hash[:12]}): cells were dropped, added or moved since."
            )
            _log.warning(changed)
            found = cls(**{**found.__dict__, "note": f"{found.note} {changed}".strip()})
        return found

    @property
    def rule(self) -> str:
        """``whole-groups`` or ``random-cells``."""
        return "random-cells" if self.by is None else "whole-groups"

    def rows(self, part: str, obs_names: Iterable[str]) -> NDArray[np.int64]:
        """Positions in ``obs_names`` of the cells of ``part``; unknown names are in no part.

        Raises
        ------
        DataError
            If ``part`` is none of the three, or this split was loaded without its cells.
        """
        if part not in PARTS:
            raise DataError(f"no part {part!r} in a split; expected one of {', '.join(PARTS)}")
        self._need_cells()
        parts = self.assignment.reindex(pd.Index(obs_names).astype(str))
        return np.flatnonzero((parts == part).to_numpy()).astype(np.int64)

    def apply(self, cells: AnnData) -> None:
        """Write ``obs["split"]`` and a record in ``uns["cellwright"]``: changes ``cells``.

        Raises
        ------
        DataError
            If ``cells`` holds a cell that this split does not know.
        """
        self._need_cells()
        parts = self.assignment.reindex(cells.obs_names.astype(str))
        if parts.isna().any():
            raise DataError(
                f"{int(parts.isna().sum())} of {len(parts)} cells are not in the split, the "
                f"first is {parts.index[parts.isna()][0]!r}; split this file anew"
            )
        cells.obs["split"] = pd.Categorical(parts.to_numpy(), categories=list(PARTS))
        record(cells, "split", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Settings, counts, note and hash, without the cells."""
        return {
            "schema": SCHEMA,
            "rule": self.rule,
            **_settings(self.by, self.label, self.seed, self.val, self.test),
            "note": self.note,
            "cells": dict(self.counts),
            "hash": self.hash,
        }

    def save(self, path: Path | str, *, cells: bool = False) -> None:
        """Write ``split.toml``; with ``cells`` also the list of cells, as ``<stem>.cells.txt.gz``."""
        path = Path(path)
        with atomic_file(path) as temporary:
            kept = {k: v for k, v in self.to_dict().items() if v is not None}
            temporary.write_text(dump_toml(kept), encoding="utf-8")
        if cells:
            self._need_cells()
            with atomic_file(_cells_file(path)) as temporary:
                lines = "\n".join(split_lines(self.assignment)) + "\n"
                temporary.write_bytes(gzip.compress(lines.encode(), mtime=0))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what ``save`` wrote.

        Raises
        ------
        RunError
            If the file is missing, is not a split, or its list of cells does not match its hash.
        """
        path = Path(path)
        if not path.is_file():
            raise RunError(f"no split at {path}; run `cellwright split` first")
        facts = read_toml(path)
        if facts.get("schema") != SCHEMA or "hash" not in facts:
            raise RunError(
                f"{path} is not a split: its schema is {facts.get('schema')!r}, expected {SCHEMA!r}"
            )
        missing = [key for key in ("seed", "val", "test", "cells") if key not in facts]
        if missing:
            raise RunError(f"{path} is not a whole split: it lacks {', '.join(missing)}")
        loaded = cls(
            assignment=pd.Series([], index=pd.Index([], dtype=str), dtype=str, name="split"),
            by=facts.get("by"),
            label=facts.get("label"),
            seed=int(facts["seed"]),
            val=float(facts["val"]),
            test=float(facts["test"]),
            note=str(facts.get("note", "")),
            counts={part: int(facts["cells"].get(part, 0)) for part in PARTS},
            hash=str(facts["hash"]),
        )
        beside = _cells_file(path)
        if not beside.is_file():
            return loaded
        try:
            text = gzip.decompress(beside.read_bytes()).decode()
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise RunError(f"{beside} cannot be read: {error}; split anew") from error
        pairs = [line.rpartition("\t")[::2] for line in text.rstrip("\n").split("\n")]
        assignment = pd.Series(
            [part for _, part in pairs], index=[name for name, _ in pairs], name="split"
        )
        complete = cls(**{**loaded.__dict__, "assignment": assignment})
        complete._compare(assignment, str(beside))
        return complete

    def verify(self, obs: pd.DataFrame) -> None:
        """Check that ``obs["split"]`` is this very split.

        Raises
        ------
        DataError
            If there is no ``obs["split"]``.
        RunError
            If cells are missing, added or in another part; the sentence names them, or at least
            the counts where the list of cells is not at hand.
        """
        self._compare(_column(obs), "obs['split']")

    def _compare(self, given: pd.Series, where: str) -> None:
        settings = _settings(self.by, self.label, self.seed, self.val, self.test)
        if split_hash(given, settings) == self.hash:
            return
        # A list of cells that is itself not the one hashed cannot say what differs.
        trusted = split_hash(self.assignment, settings) == self.hash
        told = difference(self.assignment if trusted else None, given, self.counts)
        raise RunError(
            f"{where} is not the split {self.hash[:12]} it should be: {told}; "
            "use the file that was split, or split and train anew"
        )

    def _need_cells(self) -> None:
        if self.assignment.empty and any(self.counts.values()):
            raise DataError(
                f"the split {self.hash[:12]} was loaded without its list of cells; take the parts "
                "from obs['split'] (Split.from_obs) and verify them"
            )


def _settings(
    by: str | None, label: str | None, seed: int, val: float, test: float
) -> dict[str, Any]:
    return {"by": by, "label": label, "seed": int(seed), "val": float(val), "test": float(test)}


def _cells_file(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".toml") + ".cells.txt.gz")


def _column(obs: pd.DataFrame) -> pd.Series:
    if "split" not in obs.columns:
        raise DataError("no obs['split']: run `cellwright split FILE -o OUT` first")
    values = obs["split"]
    strange = values[~values.isin(PARTS)]
    if len(strange):
        shown = ", ".join(repr(v) for v in list(dict.fromkeys(strange.astype(str)))[:3])
        raise DataError(
            f"obs['split'] holds {shown} in {len(strange)} of {len(values)} cells; "
            f"expected {', '.join(PARTS)}"
        )
    return pd.Series(values.astype(str).to_numpy(), index=obs.index.astype(str), name="split")


def _recorded(cells: AnnData) -> dict[str, Any]:
    """The facts of the last split stage in ``uns["cellwright"]``, empty if there is none."""
    stages = cells.uns.get("cellwright", {})
    for key in sorted((k for k in stages if str(k).endswith("-split")), reverse=True):
        try:
            facts = json.loads(stages[key])
        except (TypeError, ValueError):
            continue
        if isinstance(facts, dict):
            return facts
    return {}
