"""Draw the published coordinates of an atlas: what stands behind ``cellwright map``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.prepare.map_names import cluster_names, find_cluster
from cellwright.data.prepare.map_table import MapPoints, read_points
from cellwright.errors import SettingsError
from cellwright.report.atlas_map import AtlasMap, Circled, Group, atlas_map
from cellwright.report.atlas_map_html import atlas_page
from cellwright.report.canvas import save_figure
from cellwright.report.embedding import MISSING
from cellwright.report.palette import COLOURS, NO_LABEL, OTHERS, density_colours

_log = logging.getLogger(__name__)
ENDINGS = (".png", ".pdf", ".svg", ".html")
_DPI = {".png": 200, ".pdf": 300, ".svg": 300}


@dataclass(frozen=True)
class MapResult:
    """A map that was written.

    ``types`` has ``name``, ``n`` and ``colour`` of every coloured type, largest first;
    ``highlighted`` has ``alias``, ``label``, ``description`` and ``n``.
    """

    n_cells: int
    n_without_coordinates: int
    n_without_label: int
    n_types: int
    types: list[dict[str, Any]]
    others: int
    highlighted: list[dict[str, Any]]
    out: Path
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {"schema": "cellwright.map/1", **self.__dict__, "out": str(self.out)}

    def text(self) -> str:
        """Everything as lines for people."""
        rows = [(entry["name"], entry["n"]) for entry in self.types]
        rows += [("Others", self.others)] if self.others else []
        rows += [(MISSING, self.n_without_label)] if self.n_without_label else []
        width = max(len(name) for name, _ in rows)
        shown = self.n_cells - self.n_without_coordinates
        lines = [f"{shown:,} cells, {len(self.types)} of {self.n_types} types in colour", ""]
        lines += [f"  {name:<{width}}  {n:>11,}  {n / shown:6.1%}" for name, n in rows]
        if self.highlighted:
            lines += ["", "circled"]
            lines += [f"  {_named(entry)}  {entry['n']:,}" for entry in self.highlighted]
        if self.n_without_coordinates:
            lines += ["", f"left out: {self.n_without_coordinates:,} cells without coordinates"]
        return "\n".join([*lines, "", f"wrote {self.out} ({self.bytes / 1e6:.2f} MB)"])


def draw_map(
    metadata: Path | str,
    *,
    clusters: Path | str | None = None,
    terms: Path | str | None = None,
    top_k: int = 10,
    highlight: Sequence[str] = (),
    title: str | None = None,
    x: str = "x",
    y: str = "y",
    cluster: str = "cluster_alias",
    out: Path | str,
    force: bool = False,
) -> MapResult:
    """Draw cells at given coordinates, coloured by their most frequent types.

    Parameters
    ----------
    metadata
        Table of cells with ``x``, ``y`` and ``cluster``; or an ``.h5ad`` with them in obs.
    clusters, terms
        Tables from ``cluster_alias`` to ``label`` and from ``label`` to ``description``. The type
        is the description without its trailing "(subcluster n)"; without tables, the cluster.
    top_k
        How many types get a colour, 1 to 40; by number of cells with coordinates, equal ones by
        name. The others are grey.
    highlight
        Clusters to circle: aliases, or labels or descriptions that mean one alias.
    out
        Ends in ``.png``, ``.pdf``, ``.svg`` or ``.html`` (interactive, one file, no network).

    Raises
    ------
    SettingsError
        For another ending, another ``top_k``, or a highlight that means no cluster or several.
    DataError
        If a table cannot be read or does not fit the others.
    RunError
        If ``out`` exists and ``force`` is False.
    """
    out = _place(out, [metadata, clusters, terms], force=force)
    if not 1 <= top_k <= len(COLOURS):
        raise SettingsError(
            f"--top-k is {top_k}, expected 1 to {len(COLOURS)}: more colours than that cannot be "
            "told apart; the types beyond are drawn in grey"
        )
    points = read_points(metadata, x=x, y=y, cluster=cluster)
    _log.info(
        "%s: %s cells, %s clusters", metadata, f"{points.n_read:,}", f"{len(points.aliases):,}"
    )
    names = cluster_names(points.aliases, clusters, terms, key=cluster)
    names["n"] = np.bincount(points.code_n + 1, minlength=len(names) + 1)[1:]
    chosen = _chosen(highlight, names[names["n"] > 0])
    sizes = _type_sizes(names)
    groups, code_n = _groups(points, names, sizes, top_k)
    coloured = sum(not group.back for group in groups)
    chart = AtlasMap(
        points.xy_n2,
        code_n,
        groups,
        [_circled(points, names, i) for i in chosen],
        title or ("Cells by type" if terms else f"Cells by {cluster}"),
        _subtitle(points, coloured, len(sizes)),
        "cluster type, cells" if terms else f"{cluster}, cells",
        (x, y),
    )
    if out.suffix.lower() == ".html":
        with atomic_file(out) as temporary:
            page = atlas_page(chart, points.code_n, names)
            temporary.write_text(page, encoding="utf-8")
    else:
        save_figure(atlas_map(chart), out, dpi=_DPI[out.suffix.lower()])
    n = {group.name: group.n for group in groups if group.back}
    return MapResult(
        points.n_read,
        points.n_without_coordinates,
        n.get(MISSING, 0),
        len(sizes),
        [{"name": g.name, "n": g.n, "colour": g.colour} for g in groups if not g.back],
        n.get("Others", 0),
        [_entry(names, row) for row in chosen],
        out,
        out.stat().st_size,
    )


def _place(out: Path | str, inputs: Sequence[Path | str | None], *, force: bool) -> Path:
    out = Path(out)
    if out.suffix.lower() not in ENDINGS:
        raise SettingsError(
            f"cannot draw to {out}: the ending is {out.suffix!r}, expected {', '.join(ENDINGS)}"
        )
    for path in inputs:
        if path is not None and out.exists() and Path(path).exists() and out.samefile(path):
            raise SettingsError(f"{out} is one of the tables that are read; choose another place")
    refuse_existing(out, force=force)
    return out


def _type_sizes(names: pd.DataFrame) -> pd.Series:
    """Cells per type, most first, equal ones by name."""
    sizes = names.dropna(subset=["type"]).groupby("type")["n"].sum()
    sizes = sizes[sizes > 0].sort_index()
    return sizes.sort_values(ascending=False, kind="stable")


def _groups(
    points: MapPoints, names: pd.DataFrame, sizes: pd.Series, top_k: int
) -> tuple[list[Group], NDArray[np.int16]]:
    """The colours with their cells, and the colour of every cell."""
    top = sizes.head(top_k)
    groups = [
        Group(str(name), int(n), colour)
        for (name, n), colour in zip(top.items(), density_colours(top_k), strict=False)
    ]
    place = {group.name: k for k, group in enumerate(groups)}
    others, missing = len(groups), len(groups) + 1
    of_cluster = [missing if t is None else place.get(t, others) for t in names["type"]]
    code_n = np.array([*of_cluster, missing], dtype=np.int16)[points.code_n]
    n_back = np.bincount(code_n, minlength=missing + 1)[others:]
    if not n_back[0]:
        code_n[code_n == missing] = others
    for name, n, colour in zip(("Others", MISSING), n_back, (OTHERS, NO_LABEL), strict=True):
        if n:
            groups.append(Group(name, int(n), colour, back=True))
    if n_back[1]:
        _log.warning("%s cells have no label", f"{n_back[1]:,}")
    return groups, code_n


def _chosen(highlight: Sequence[str], names: pd.DataFrame) -> list[int]:
    """Rows of the clusters to circle; an entry is one cluster or several between commas."""
    found: list[int] = []
    known = {name for c in ("alias", "label", "description") for name in names[c]}
    for entry in highlight:
        whole = entry.strip() in known or "," not in entry
        for given in [entry] if whole else entry.split(","):
            if not given.strip():
                continue
            row = int(names.index[find_cluster(given, names)])
            alias = names.loc[row, "alias"]
            if alias != given.strip():
                _log.info("%s is the cluster alias %s", given.strip(), alias)
            found.append(row)
    return list(dict.fromkeys(found))


def _circled(points: MapPoints, names: pd.DataFrame, row: int) -> Circled:
    return Circled(_named(_entry(names, row)), np.flatnonzero(points.code_n == row))


def _entry(names: pd.DataFrame, row: int) -> dict[str, Any]:
    found = names.iloc[row]
    known = {key: found[key] for key in ("alias", "label", "description")}
    return {**known, "n": int(found["n"])}


def _named(entry: dict[str, Any]) -> str:
    alias, description = entry["alias"], entry["description"]
    return f"{alias} {description}" if description else str(alias)


def _subtitle(points: MapPoints, coloured: int, n_types: int) -> str:
    words = f"{len(points.code_n):,} cells"
    if coloured < n_types:
        words += f"; the {coloured} largest of {n_types:,} types in colour"
    if points.n_without_coordinates:
        words += f"; {points.n_without_coordinates:,} without coordinates left out"
    return words
