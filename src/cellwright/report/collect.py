"""Read what the commands left behind: run, probe and cluster folders, as far as they go.

A folder that is not what was asked for is an error. A part that is missing inside it is not: it is
named in ``missing``, one sentence each, for the page to print.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellwright.config import read_toml
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.report.places import CLUSTER, PROBE, RUN, existing

Columns = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Part:
    """One folder: its name, its ``metrics.json`` and what could not be read.

    ``tables`` holds ``history``, ``coordinates``, ``predictions`` and ``clusters``, as far as they
    are there; ``extra`` the examples, the provenance and the settings of a run.
    """

    kind: str
    folder: Path
    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's own name: paths stay out of a page that is passed on."""
        return str(self.metrics.get("name") or self.folder.resolve().name)


def read_run(folder: Path | str) -> Part:
    """Read a run folder, finished or not.

    Raises
    ------
    RunError
        If the folder is not there, is of another kind, or holds neither ``metrics.json`` nor
        ``history.csv``.
    """
    folder = existing(folder, "run")
    missing: list[str] = []
    metrics: dict[str, Any] = {}
    if (folder / "metrics.json").is_file():
        metrics = _metrics(folder, RUN, "pretrain")
    elif (folder / "history.csv").is_file():
        missing.append("metrics.json is not there: the run has not finished.")
    else:
        raise RunError(
            f"{folder} is no run folder: it holds neither metrics.json nor history.csv; "
            "give the folder that `cellwright pretrain` wrote"
        )
    tables = {}
    history = _history(folder / "history.csv", missing)
    if history is not None:
        tables["history"] = history
    extra: dict[str, Any] = {}
    for name, effect in (
        ("examples", "no example predictions are shown"),
        ("provenance", "versions and hardware are not known"),
    ):
        content = _json(folder / f"{name}.json", missing, effect)
        if content is not None:
            extra[name] = content
    try:
        if (folder / "config.toml").is_file():
            extra["settings"] = read_toml(folder / "config.toml")
    except SettingsError as error:
        missing.append(f"The settings are left out: {error}.")
    return Part(RUN, folder, metrics, tables, extra, tuple(missing))


def read_probe(folder: Path | str) -> Part:
    """Read a probe folder.

    Raises
    ------
    RunError
        If the folder is not there, is of another kind, or its ``metrics.json`` cannot be read.
    """
    needed: Columns = {"predictions": ("cell", "rep")}
    return _judged(existing(folder, "probe"), PROBE, "probe", needed)


def read_cluster(folder: Path | str) -> Part:
    """Read a cluster folder.

    Raises
    ------
    RunError
        As ``read_probe``.
    """
    needed: Columns = {"clusters": ("cell", "rep", "cluster")}
    return _judged(existing(folder, "cluster"), CLUSTER, "cluster", needed)


def read_inspection(path: Path | str) -> dict[str, Any]:
    """Read what ``cellwright inspect --json`` printed.

    Raises
    ------
    DataError
        If the file is not there or is no JSON object.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the inspection {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"the inspection {path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(
            f"the inspection {path} holds a {type(found).__name__}, expected one JSON object as "
            "`cellwright inspect --json` prints it"
        )
    return found


def _metrics(folder: Path, kind: str, command: str) -> dict[str, Any]:
    file = folder / "metrics.json"
    if not file.is_file():
        raise RunError(
            f"{folder} is no {command} folder: it holds no metrics.json; "
            f"give the folder that `cellwright {command}` wrote"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if not str(schema).startswith(f"{kind}/"):
        raise RunError(
            f"{folder} is no {command} folder: the schema in its metrics.json is {schema!r}, "
            f"expected {kind}/1"
        )
    return content


def _judged(folder: Path, kind: str, command: str, others: Columns) -> Part:
    """A probe or cluster folder: its numbers and its tables of cells."""
    missing: list[str] = []
    tables = {}
    needed: Columns = {"coordinates": ("cell", "rep", "method", "x", "y")} | others
    for name, columns in needed.items():
        table = _cells(folder / f"{name}.tsv", columns, missing)
        if table is not None:
            tables[name] = table
    metrics = _metrics(folder, kind, command)
    return Part(kind, folder, metrics, tables, missing=tuple(missing))


def _json(path: Path, missing: list[str], effect: str) -> Any:
    """The content of a side file, or None and a sentence."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing.append(f"{path.name} is not there: {effect}.")
        return None
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read ({error}): {effect}.")
        return None
    if not isinstance(content, dict):
        missing.append(f"{path.name} is no JSON object: {effect}.")
        return None
    return content


def _history(path: Path, missing: list[str]) -> pd.DataFrame | None:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        missing.append("history.csv is not there: no training curves are drawn.")
        return None
    except (OSError, ValueError) as error:
        missing.append(f"history.csv cannot be read ({error}): no training curves are drawn.")
        return None
    if "epoch" not in table or not len(table):
        missing.append("history.csv has no epochs: no training curves are drawn.")
        return None
    return table.apply(pd.to_numeric, errors="coerce").dropna(subset=["epoch"])


def _cells(path: Path, columns: Sequence[str], missing: list[str]) -> pd.DataFrame | None:
    """A table of cells. Labels stay text: a class named ``NA`` or ``1e5`` is a name."""
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            dtype=str,
            keep_default_na=False,
            # Probabilities are most of a table of predictions, and no page shows them.
            usecols=lambda column: not str(column).startswith("p_"),
        )
    except FileNotFoundError:
        missing.append(f"{path.name} is not there.")
        return None
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read ({error}).")
        return None
    absent = [c for c in columns if c not in table]
    if absent:
        missing.append(f"{path.name} has no column {', '.join(absent)}; it is left out.")
        return None
    for axis in ("x", "y"):
        if axis in table:
            number = pd.to_numeric(table[axis], errors="coerce")
            table[axis] = number.where(np.isfinite(number))
    return table
