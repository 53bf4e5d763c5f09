"""Honesty checks in the order in which a reader needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SEVERITIES = ("failure", "warning", "note")


def gravity(check: Mapping[str, Any]) -> int:
    """Sort key: failures, then warnings (and what nobody knows), then notes."""
    severity = check.get("severity")
    return SEVERITIES.index(severity) if severity in SEVERITIES else 1


def checks(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The checks, the gravest first."""
    rows = [
        {key: str(row.get(key) or "") for key in ("name", "severity", "sentence", "remedy")}
        for row in metrics.get("checks") or ()
        if isinstance(row, Mapping)
    ]
    return sorted(rows, key=gravity)
