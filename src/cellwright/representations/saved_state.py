"""Learned state on disk: one ``.npz`` of plain arrays that names the class it belongs to."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file
from cellwright.errors import RunError

_KIND = "representation"


def save_state(path: Path | str, kind: str, state: Mapping[str, Any]) -> None:
    """Write ``state`` (arrays, numbers, strings) of a ``kind`` to ``path``, atomically, no pickle."""
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in state.items()}
    arrays[_KIND] = np.asarray(kind)
    with atomic_file(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


def load_state(path: Path | str, kind: str) -> dict[str, NDArray[Any]]:
    """Read what :func:`save_state` wrote for the same ``kind``.

    Raises
    ------
    RunError
        If the file is missing, no ``.npz`` of plain arrays, or holds another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            state = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise RunError(f"no saved representation at {path}") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is not a saved representation: {error}") from None
    found = str(state.pop(_KIND, ""))
    if found != kind:
        raise RunError(f"{path} holds {found or 'something else'!r}, expected {kind!r}")
    return state
