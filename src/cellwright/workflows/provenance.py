"""Where a result comes from: versions, commit, data, seed and hardware, without paths or names."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cellwright
from cellwright.training.hardware import describe

PACKAGES = (
    "anndata",
    "igraph",
    "lightning-fabric",
    "numba",
    "numpy",
    "pandas",
    "safetensors",
    "scanpy",
    "scikit-learn",
    "scipy",
    "torch",
    "umap-learn",
)


def provenance(seed: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """What ``provenance.json`` holds before the cost of the run is known."""
    return {
        "schema": "cellwright.provenance/1",
        "versions": versions(),
        "commit": _commit(),
        "data": dict(data),
        "seed": seed,
        "hardware": describe(),
    }


def versions() -> dict[str, str]:
    """cellwright, Python and the packages numbers depend on."""
    found = {"cellwright": cellwright.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the checkout that cellwright runs from, None for an installed wheel."""
    root = Path(cellwright.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
