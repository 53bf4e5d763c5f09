"""The known data sets, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from cellwright.data.datasets.registry import Dataset

_WIDTH = 96


def listing(registry: Mapping[str, Dataset]) -> str:
    """Name, size, licence, source and what is not verified of each; the steps of those by hand."""
    fetched = [d for d in registry.values() if d.files]
    by_hand = [d for d in registry.values() if d.by_hand]
    lines = []
    for dataset in fetched:
        lines += [*_head(dataset, f"{dataset.size}, {dataset.licence}"), *_tail(dataset)]
    if by_hand:
        lines += ["", "To be downloaded by hand, in a browser:"]
    for dataset in by_hand:
        lines += _head(dataset, dataset.licence)
        for number, step in enumerate(dataset.by_hand, start=1):
            lines += _wrapped(f"{number}. {step}", hanging="   ")
        lines += _tail(dataset)
    since = {d.not_verified_since for d in registry.values() if d.not_verified_since}
    if since:
        lines += [
            "",
            "* not verified since the day given: address, size and checksum are as others published",
            "  them; what comes is verified against them, or by its length and contents",
        ]
    return "\n".join(lines).strip("\n")


def _head(dataset: Dataset, facts: str) -> list[str]:
    since = dataset.not_verified_since
    mark = f" *{since.isoformat()}" if since else ""
    return [
        "",
        f"{dataset.name:<15} {facts}{mark}",
        *_wrapped(dataset.title),
        f"    {dataset.source}",
    ]


def _tail(dataset: Dataset) -> list[str]:
    lines = [] if len(dataset.files) < 2 else _wrapped(", ".join(f.name for f in dataset.files))
    return lines + (_wrapped(f"note: {dataset.note}") if dataset.note else [])


def _wrapped(text: str, hanging: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent="    ",
        subsequent_indent="    " + hanging,
        break_on_hyphens=False,
        break_long_words=False,
    )
