"""Which folders are runs, probes and clusterings, and which of them belong together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cellwright.errors import RunError

RUN, PROBE, CLUSTER = "cellwright.pretrain", "cellwright.probe", "cellwright.cluster"


@dataclass(frozen=True)
class Found:
    """What lies in and beside a folder, by kind."""

    run: Path | None = None
    probes: tuple[Path, ...] = ()
    clusters: tuple[Path, ...] = ()
    inspection: Path | None = None


def find_parts(place: Path | str) -> Found:
    """Find what belongs together around a folder of any kind.

    A run folder brings the ``probe*`` and ``cluster*`` folders inside it and, if it is the only
    run there, those beside it. A study folder brings the run inside it. A probe or cluster folder
    brings only itself.

    Raises
    ------
    RunError
        If the folder is not there or holds nothing to report on.
    """
    place = existing(place, "run or study")
    kind = kind_of(place)
    if kind == PROBE:
        return Found(probes=(place,))
    if kind == CLUSTER:
        return Found(clusters=(place,))
    if kind == RUN:
        around = [place]
        beside = place.resolve().parent
        if sum(kind_of(child) == RUN for child in _children(beside)) == 1:
            around += [beside, *([beside.parent] if beside.name == "runs" else [])]
        run: Path | None = place
    else:
        around = [place]
        below = [
            *_children(place),
            *(_children(place / "runs") if (place / "runs").is_dir() else ()),
        ]
        runs = [child for child in below if kind_of(child) == RUN]
        if len(runs) > 1:
            names = ", ".join(child.name for child in runs)
            raise RunError(f"{place} holds several runs ({names}); name the one to report on")
        run = runs[0] if runs else None
    inner = [child for folder in around for child in _children(folder)]
    probes = [c for c in inner if c.name.startswith("probe") and kind_of(c) == PROBE]
    clusters = [c for c in inner if c.name.startswith("cluster") and kind_of(c) == CLUSTER]
    if run is None and not probes and not clusters:
        raise RunError(
            f"nothing to report on in {place}: it holds no metrics.json or history.csv of "
            "pretrain, probe or cluster, and no folder below it does"
        )
    inspections = [folder / name for folder in around for name in ("inspection.json",)]
    inspection = next((path for path in inspections if path.is_file()), None)
    return Found(run, tuple(probes), tuple(clusters), inspection)


def kind_of(folder: Path) -> str | None:
    """The kind of a folder by the schema in its ``metrics.json``; None if it has none we know."""
    if not folder.is_dir():
        return None
    file = folder / "metrics.json"
    if not file.is_file():
        return RUN if (folder / "history.csv").is_file() else None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    schema = str(content.get("schema", "")) if isinstance(content, dict) else ""
    return next((k for k in (RUN, PROBE, CLUSTER) if schema.startswith(f"{k}/")), None)


def existing(folder: Path | str, what: str) -> Path:
    """The folder, if it is one; a RunError that says what it is if not."""
    folder = Path(folder)
    if not folder.is_dir():
        there = "a file" if folder.exists() else "not there"
        raise RunError(f"cannot report on {folder}: expected a {what} folder, it is {there}")
    return folder


def _children(folder: Path) -> list[Path]:
    hidden = (c for c in folder.iterdir() if c.is_dir() and not c.name.startswith("."))
    return sorted(hidden, key=lambda c: c.name)
