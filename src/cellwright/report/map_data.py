"""What the interactive map of the page needs, as compact JSON.

Coordinates travel as 16-bit steps between the extremes of each map (far finer than a screen), in
base64; 65535 marks a cell that the map does not have.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.report.collect import Part
from cellwright.report.embedding import METHOD_NAMES, category_styles, clean_labels, knn_words
from cellwright.report.methods import KIND_ORDER, kinds
from cellwright.report.places import PROBE
from cellwright.report.thinning import thin

MOST_POINTS = 50_000  # of one map
MOST_IN_ALL = 500_000  # of all maps together: about 2.7 MB
FEWEST_POINTS = 5_000
ABSENT = 65_535


@dataclass(frozen=True)
class MapSource:
    """The maps of one probe or cluster folder.

    ``table`` has one row per shown cell: ``cell``, ``label`` and, where known, ``prediction``.
    ``maps`` is (rep, method) -> coordinates (n, 2), NaN where the map lacks the cell; ``clusters``
    rep -> cluster of every cell as text.
    """

    title: str
    label: str
    table: pd.DataFrame
    maps: dict[tuple[str, str], NDArray[np.float64]]
    clusters: dict[str, NDArray[np.str_]]
    knn: Mapping[str, Any]
    order: Sequence[str]
    cells: int
    predicted: str | None = None

    @property
    def thinned(self) -> bool:
        """True if not all cells are shown."""
        return len(self.table) < self.cells


def map_sources(parts: Sequence[Part]) -> list[MapSource]:
    """The maps of every part that has coordinates, the models' before the baselines'."""
    drawn = [part for part in parts if len(part.tables.get("coordinates", ()))]
    pairs = [p.tables["coordinates"][["rep", "method"]].drop_duplicates() for p in drawn]
    in_all = sum(len(pair) for pair in pairs)
    most = min(MOST_POINTS, max(FEWEST_POINTS, MOST_IN_ALL // max(in_all, 1)))
    return [_source(part, most) for part in drawn]


def payload(sources: Sequence[MapSource]) -> dict[str, Any]:
    """The sources as JSON's own types, without NaN."""
    # A probe and a clustering mostly show the same cells: their names are written once.
    names: list[list[str]] = []
    out = []
    for source in sources:
        own = source.table["cell"].tolist()
        if own not in names:
            names.append(own)
        out.append({"cells": names.index(own)} | _payload(source))
    return {"cells": names, "sources": out, "absent": ABSENT}


def _source(part: Part, most: int) -> MapSource:
    coordinates = part.tables["coordinates"]
    coordinates = coordinates.dropna(subset=["x", "y"])
    if "label" not in coordinates:
        coordinates = coordinates.assign(label="")
    cells = coordinates.drop_duplicates("cell")[["cell", "label"]].reset_index(drop=True)
    kept = thin(clean_labels(cells["label"]), most)
    table = cells.iloc[kept].reset_index(drop=True)
    predicted = _predictions(part, table)
    maps = {}
    for (rep, method), points in coordinates.groupby(["rep", "method"], sort=False):
        at = points.drop_duplicates("cell").set_index("cell")[["x", "y"]]
        maps[str(rep), str(method)] = at.reindex(table["cell"]).to_numpy(dtype=np.float64)
    kind = "probe" if part.kind == PROBE else "cluster"
    order = _rep_order(part, list(dict.fromkeys(rep for rep, _ in maps)))
    classes = part.metrics.get("classes")
    return MapSource(
        title=kind if part.name == kind else f"{kind} {part.name}",
        label=str(part.metrics.get("label") or "label"),
        table=table,
        maps=dict(sorted(maps.items(), key=lambda item: order.index(item[0][0]))),
        clusters=_clusters(part, table),
        knn=part.metrics.get("knn_2d") or {},
        order=[str(c) for c in classes] if isinstance(classes, list) else (),
        cells=len(cells),
        predicted=predicted,
    )


def _rep_order(part: Part, reps: list[str]) -> list[str]:
    """Models first: the page opens with what was asked about."""
    found = kinds([{"rep": rep} for rep in reps], part.metrics.get("baselines"))
    return sorted(reps, key=lambda rep: (KIND_ORDER.index(found[rep]), reps.index(rep)))


def _predictions(part: Part, table: pd.DataFrame) -> str | None:
    """Add the held-out prediction of the first model in the first design; return its name."""
    answers = part.tables.get("predictions")
    if answers is None or not {"split", "prediction"} <= set(answers.columns) or not len(answers):
        return None
    rep = _rep_order(part, list(dict.fromkeys(answers["rep"])))[0]
    own = answers[answers["rep"] == rep]
    own = own[own["split"] == own["split"].iloc[0]].drop_duplicates("cell")
    found = own.set_index("cell")["prediction"].reindex(table["cell"]).fillna("")
    table["prediction"] = found.to_numpy()
    return rep


def _clusters(part: Part, table: pd.DataFrame) -> dict[str, NDArray[np.str_]]:
    """Cluster of every cell by representation, from ``clusters.tsv`` or the coordinates."""
    source = part.tables.get("clusters", part.tables["coordinates"])
    if "cluster" not in source:
        return {}
    found = {}
    for rep, rows in source.groupby("rep", sort=False):
        of_cell = rows.drop_duplicates("cell").set_index("cell")["cluster"]
        found[str(rep)] = clean_labels(of_cell.reindex(table["cell"]).to_numpy(), "no cluster")
    return found


def _payload(source: MapSource) -> dict[str, Any]:
    labels = clean_labels(source.table["label"])
    out: dict[str, Any] = {
        "title": source.title,
        "label": {"name": source.label} | _categories(labels, source.order),
        "clusters": {rep: _categories(c, None) for rep, c in source.clusters.items()},
        "maps": [
            {
                "rep": rep,
                "method": method,
                "shown": METHOD_NAMES.get(method, method),
                "words": knn_words(_knn(source, rep, method), _present(xy)),
                "xy": _steps(xy),
            }
            for (rep, method), xy in source.maps.items()
        ],
    }
    if source.predicted is not None:
        found = clean_labels(source.table["prediction"], "not held out")
        out["prediction"] = {"rep": source.predicted} | _categories(found, source.order)
    return out


def _knn(source: MapSource, rep: str, method: str) -> Mapping[str, float] | None:
    found = source.knn.get(rep)
    entry = found.get(method) if isinstance(found, Mapping) else None
    return entry if isinstance(entry, Mapping) else None


def _present(xy: NDArray[np.float64]) -> int:
    return int(np.isfinite(xy).all(axis=1).sum())


def _categories(names_n: NDArray[np.str_], order: Sequence[str] | None) -> dict[str, Any]:
    """Names, colours and symbols of the categories and the code of every cell."""
    look = category_styles(names_n, order)
    code = {name: i for i, name in enumerate(look)}
    return {
        "names": list(look),
        "colours": [style.colour for style in look.values()],
        "symbols": [style.symbol for style in look.values()],
        "codes": [code[str(name)] for name in names_n],
    }


def _steps(xy: NDArray[np.float64]) -> str:
    """Coordinates as little-endian 16-bit steps, all x then all y, in base64."""
    steps = np.full(xy.shape, ABSENT, dtype="<u2")
    there = np.isfinite(xy).all(axis=1)
    if there.any():
        low = xy[there].min(axis=0)
        wide = np.where(np.ptp(xy[there], axis=0) > 0, np.ptp(xy[there], axis=0), 1.0)
        steps[there] = np.round((xy[there] - low) / wide * (ABSENT - 1)).astype("<u2")
    return base64.b64encode(steps.T.tobytes()).decode("ascii")
