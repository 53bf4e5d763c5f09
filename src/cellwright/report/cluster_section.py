"""The part of the page about clusters: agreement with the labels, sizes, maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellwright.report.checks import checks
from cellwright.report.clusters import cluster_sizes, resolution_curve
from cellwright.report.collect import Part
from cellwright.report.confusion import confusion_of
from cellwright.report.embedding import METHOD_NAMES, clean_labels, cluster_maps
from cellwright.report.methods import KIND_ORDER, kinds
from cellwright.report.picture import Picture, picture
from cellwright.report.probe_section import LEADING
from cellwright.report.score_table import bracket, difference_of, seen_of
from cellwright.report.thinning import thin
from cellwright.report.wording import DASH, count, finite, flat, number

ENDS = ("low", "high")
STATIC_POINTS = 8_000  # of a map printed as an image


def cluster_section(cluster: Part) -> dict[str, Any]:
    """Everything the template prints about a clustering."""
    metrics = cluster.metrics
    entries = {str(k): v for k, v in (metrics.get("reps") or {}).items() if isinstance(v, Mapping)}
    found = kinds([{"rep": rep} for rep in entries], metrics.get("baselines"))
    order = sorted(entries, key=lambda rep: KIND_ORDER.index(found[rep]))
    label = str(metrics.get("label") or "label")
    scored = {
        (str(row.get("rep")), str(row.get("metric"))): row
        for row in metrics.get("scores") or ()
        if isinstance(row, Mapping) and row.get("stratum", "all") == "all"
    }
    return {
        "name": cluster.name,
        "label": label,
        "settings": flat(metrics.get("settings") or {}),
        "sentences": [str(s) for s in metrics.get("sentences") or ()],
        "leading": LEADING,
        "checks": checks(metrics),
        "agreement": [
            row for rep in order for row in _agreement(rep, found[rep], entries[rep], scored)
        ],
        "majority": [_majority(rep, entries[rep]) for rep in order if entries[rep].get("majority")],
        "reps": [
            {"rep": rep, "pictures": _pictures(cluster, rep, entries[rep], label, at == 0)}
            for at, rep in enumerate(order)
        ],
        "missing": cluster.missing,
    }


def _agreement(
    rep: str,
    kind: str,
    entry: Mapping[str, Any],
    scored: Mapping[tuple[str, str], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Both resolutions of one representation, with intervals and differences where they were scored."""
    rows = []
    choices = (("given", "as given", ""), ("matched", "as many clusters as labels", "_matched"))
    for key, words, suffix in choices:
        at = entry.get(key)
        if not isinstance(at, Mapping):
            continue
        if at.get("reached") is False:
            words = "nearest to as many clusters as labels"
        metrics = ("ari", "nmi", "homogeneity", "completeness")
        rows.append(
            {
                "rep": rep,
                "at": words,
                "resolution": _plain(at.get("resolution")),
                "clusters": count(at.get("n_clusters")),
                "values": [
                    (
                        number(at.get(m)),
                        finite(at.get(m)),
                        bracket(*(scored.get((rep, m + suffix), {}).get(k) for k in ENDS)),
                    )
                    for m in metrics
                ],
                "kind_key": kind,
                "difference": difference_of(scored.get((rep, f"ari{suffix}"), {})),
                "seen": seen_of(score) if (score := scored.get((rep, f"ari{suffix}"))) else None,
            }
        )
    return rows


def _majority(rep: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    vote = entry["majority"]
    shuffled = vote.get("shuffled") or {}
    return {
        "rep": rep,
        "accuracy": number(vote.get("accuracy")),
        "sort": finite(vote.get("accuracy")),
        "shuffled": number(shuffled.get("value")),
        "range": bracket(shuffled.get("low"), shuffled.get("high")),
    }


def _pictures(
    cluster: Part, rep: str, entry: Mapping[str, Any], label: str, first: bool
) -> list[Picture]:
    """Sizes, agreement and votes of one representation; the maps of the first only, for weight."""
    given, matched = (_mapping(entry.get(k)).get("resolution") for k in ("given", "matched"))
    agree = _mapping(entry.get("given"))
    drawn = _maps(cluster, rep, label) if first else []
    if entry.get("clusters"):
        rows = entry["clusters"]
        drawn.append(
            picture(
                lambda: cluster_sizes(rows, subtitle=f"{rep}, resolution {_plain(given)}"),
                f"Size and purity of the {len(rows)} clusters of {rep} at resolution "
                f"{_plain(given)}.",
            )
        )
    if entry.get("grid"):
        drawn.append(
            picture(
                lambda: resolution_curve(
                    entry["grid"], given=finite(given), matched=finite(matched), subtitle=rep
                ),
                f"Agreement of the clusters of {rep} with {label} over {len(entry['grid'])} "
                f"resolutions; adjusted Rand index {number(agree.get('ari'))} as given.",
            )
        )
    vote = _mapping(entry.get("majority"))
    if vote.get("confusion"):
        drawn.append(
            picture(
                lambda: confusion_of(
                    vote["confusion"],
                    title=f"{rep}: clusters by majority",
                    column_axis="Majority label of the cell's cluster",
                ),
                f"Confusion matrix of the majority vote of the clusters of {rep}: "
                f"{number(vote.get('accuracy'))} of the cells on the diagonal.",
            )
        )
    return drawn


def _maps(cluster: Part, rep: str, label: str) -> list[Picture]:
    """By cluster and by label side by side."""
    coordinates = cluster.tables.get("coordinates")
    if coordinates is None or not {"cluster", "label"} <= set(coordinates.columns):
        return []
    own = coordinates[(coordinates["rep"] == rep)].dropna(subset=["x", "y"])
    if not len(own):
        return []
    methods = list(dict.fromkeys(own["method"]))
    method = "umap" if "umap" in methods else methods[0]
    own = own[own["method"] == method]
    shown: pd.DataFrame = own.iloc[thin(clean_labels(own["label"]), STATIC_POINTS)]
    shown = shown.assign(cluster=shown["cluster"].replace("", np.nan))
    name = METHOD_NAMES.get(method, method)
    fewer = "" if len(shown) == len(own) else f" {count(len(shown))} of {count(len(own))} cells."
    one = picture(
        lambda: cluster_maps(shown, method=method, rep=rep, label=label),
        f"{name} of {rep}, {count(len(shown))} cells, by cluster and by {label}.",
        fewer.strip(),
        ending="webp",
    )
    return [one]


def _plain(value: Any) -> str:
    known = finite(value)
    return DASH if known is None else f"{known:.3g}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
