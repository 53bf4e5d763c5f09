"""The map of an atlas as one HTML file that needs no network.

Few cells are points. Of millions a picture per type is drawn, and a sample answers to the pointer.
"""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.image import imsave
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from cellwright.report.atlas_map import PLAIN, AtlasMap, Circled, spaced
from cellwright.report.density import Grid, Layers, grid_over, layers
from cellwright.report.thinning import thin

SAMPLE = 12_000
"""Cells that answer to the pointer where all are too many."""
MOST_CIRCLES = 3_000
"""Of one highlight, close up."""
CIRCLES_APART = 20
"""Pixels of the picture between circles of the overview, about."""
_SCRIPT = Path(__file__).with_name("atlas_map.js")

# The pictures add up to the mixture of all types; alone, each shows its own.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100%; background: #fff; color: #5c6370;
  font: 13px system-ui, sans-serif; }}
body {{ display: flex; flex-direction: column; }}
#map {{ flex: 1; min-height: 0; }}
p {{ margin: 0 0 8px 40px; }}
.imagelayer {{ isolation: isolate; }}
.imagelayer image {{ mix-blend-mode: plus-lighter; }}
</style>
</head>
<body>
<div id="map"></div>
<p>{note}</p>
<noscript><p>This map needs JavaScript.</p></noscript>
<script>{plotly}</script>
<script type="application/json" id="chart">{chart}</script>
<script>{script}</script>
</body>
</html>
"""


def atlas_page(chart: AtlasMap, cluster_n: NDArray[np.int32], names: pd.DataFrame) -> str:
    """The interactive page.

    Parameters
    ----------
    cluster_n
        Cluster of every cell as a row of ``names``, -1 for none.
    names
        ``alias``, ``label`` and ``description`` of the clusters, said when a cell is pointed at.
    """
    n = len(chart.xy_n2)
    crowded = n > PLAIN
    grid = grid_over(chart.xy_n2)
    kept = thin(chart.code_n, SAMPLE) if crowded else np.arange(n)
    note = "Click a name to hide it, double-click to see it alone."
    if crowded:
        note += (
            f" All {n:,} cells are counted in the picture; {len(kept):,} of them answer to the "
            "pointer and appear close up."
        )
    data = {
        "title": chart.title,
        "subtitle": chart.subtitle,
        "legend": chart.legend,
        "axes": list(chart.axes),
        "extent": list(grid.extent),
        "groups": [
            {"name": group.name, "n": group.n, "colour": group.colour} for group in chart.groups
        ],
        "cells": _cells(chart, kept, cluster_n, grid),
        "clusters": _said(names),
        "circled": [_circled(circled, chart, grid) for circled in chart.circled],
        "images": _images(chart) if crowded else [],
    }
    return _PAGE.format(
        title=html.escape(chart.title),
        note=note,
        plotly=_inline(get_plotlyjs()),
        chart=_json(data),
        script=_inline(_SCRIPT.read_text(encoding="utf-8")),
    )


def _cells(
    chart: AtlasMap, kept: NDArray[np.int64], cluster_n: NDArray[np.int32], grid: Grid
) -> dict[str, Any]:
    """Cells in one random order, those behind first."""
    order = np.random.default_rng(0).permutation(kept)
    front_n = ~np.array([group.back for group in chart.groups])[chart.code_n[order]]
    order = order[np.argsort(front_n, kind="stable")]
    return {
        **_places(chart.xy_n2[order], grid),
        "group": chart.code_n[order].tolist(),
        "cluster": cluster_n[order].tolist(),
    }


def _places(xy_m2: NDArray[np.float64], grid: Grid) -> dict[str, list[float]]:
    """Coordinates to a fiftieth of a pixel."""
    digits = int(np.ceil(-np.log10(grid.pixel / 50)))
    x, y = np.round(xy_m2, digits).T.tolist()
    return {"x": x, "y": y}


def _said(names: pd.DataFrame) -> list[list[str]]:
    """Alias, label and description of every cluster, each once."""
    rows = names[["alias", "label", "description"]].itertuples(index=False)
    return [list(dict.fromkeys(str(part) for part in row if part is not None)) for row in rows]


def _circled(circled: Circled, chart: AtlasMap, grid: Grid) -> dict[str, Any]:
    """The circles of the overview first, ``spaced`` of them; the others appear close up."""
    xy = chart.xy_n2[circled.rows]
    apart = spaced(xy, CIRCLES_APART * grid.pixel)
    rest = np.setdiff1d(np.arange(len(xy)), apart)
    rest = rest[thin(np.zeros(len(rest), dtype=np.int8), MOST_CIRCLES)]
    middle = np.median(xy, axis=0)
    near = xy[np.argmin(((xy - middle) ** 2).sum(axis=1))]
    return {
        "name": circled.name,
        "n": len(xy),
        "middle": near.tolist(),
        "spaced": len(apart),
        **_places(xy[[*apart, *rest]], grid),
    }


def _images(chart: AtlasMap) -> list[dict[str, Any]]:
    """A picture per group, to be added up."""
    drawn: Layers = layers(
        chart.xy_n2,
        chart.code_n,
        [group.colour for group in chart.groups],
        [group.back for group in chart.groups],
    )
    out = []
    for k, part in drawn.shares():
        with io.BytesIO() as buffer:
            imsave(buffer, part, format="png", origin="lower")
            encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
        out.append({"group": k, "source": f"data:image/png;base64,{encoded}"})
    return out


def _json(values: dict[str, Any]) -> str:
    """Values as inline JSON; no letter of theirs can be read as HTML."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _inline(code: str) -> str:
    """Code inside a script element; nothing in it may end the element."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
