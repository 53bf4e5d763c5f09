"""What stands around the interactive map: how many cells it shows, its numbers, its image on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cellwright.report.embedding import METHOD_NAMES, clean_labels, embedding_map, knn_words
from cellwright.report.map_data import MapSource
from cellwright.report.picture import Picture, picture
from cellwright.report.thinning import thin
from cellwright.report.wording import count, finite, number

STATIC_POINTS = 8_000  # of the map that stands in for the interactive one on paper


def described(source: MapSource) -> dict[str, Any]:
    """What stands beside the interactive map: how many cells it shows, and its numbers."""
    methods = list(dict.fromkeys(method for _, method in source.maps))
    reps = list(dict.fromkeys(rep for rep, _ in source.maps))
    chances = [
        finite(_entry(source, rep, method).get("chance")) for rep in reps for method in methods
    ]
    return {
        "title": source.title,
        "label": source.label,
        "shown": count(len(source.table)),
        "cells": count(source.cells),
        "thinned": source.thinned,
        "methods": [METHOD_NAMES.get(method, method) for method in methods],
        "chance": number(next((c for c in chances if c is not None), None)),
        "numbers": [
            {
                "rep": rep,
                "values": [
                    (number(value), value)
                    for value in (
                        finite(_entry(source, rep, method).get("value")) for method in methods
                    )
                ],
            }
            for rep in reps
            if any(_entry(source, rep, method) for method in methods)
        ],
        "notes": [
            f"{METHOD_NAMES.get(method, method)} of {rep}: {_entry(source, rep, method)['note']}"
            for rep in reps
            for method in methods
            if _entry(source, rep, method).get("note")
        ],
    }


def static_map(sources: Sequence[MapSource]) -> Picture | None:
    """The map the page opens with as an image, for paper and for browsers without scripts."""
    if not sources or not sources[0].maps:
        return None
    source = sources[0]
    rep = next(iter(source.maps))[0]
    methods = [method for own, method in source.maps if own == rep]
    method = "umap" if "umap" in methods else methods[0]
    labels = clean_labels(source.table["label"])
    kept = thin(labels, STATIC_POINTS)
    xy = source.maps[rep, method][kept]
    knn = _entry(source, rep, method)
    return picture(
        lambda: embedding_map(
            xy,
            labels[kept],
            method=method,
            rep=rep,
            label=source.label,
            knn=knn,
            order=source.order,
        ),
        f"{METHOD_NAMES.get(method, method)} of {rep} coloured by {source.label}: "
        f"{knn_words(knn, len(kept))}.",
        ending="webp",
    )


def _entry(source: MapSource, rep: str, method: str) -> Mapping[str, Any]:
    found = source.knn.get(rep)
    entry = found.get(method) if isinstance(found, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}
