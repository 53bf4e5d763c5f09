"""Fewer points for a picture that has to stay light, with every class at its share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def thin(names_n: NDArray[Any], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows to keep, in order: at most ``most``, each class at its share, none lost.

    The places are divided by largest remainder, every class getting at least one while there are
    places. Within a class the rows are drawn at random (``seed``) without replacement.
    """
    n = len(names_n)
    if n <= most:
        return np.arange(n, dtype=np.int64)
    _, code_n, size_k = np.unique(names_n, return_inverse=True, return_counts=True)
    exact_k = size_k * (most / n)
    place_k = np.maximum(np.floor(exact_k).astype(np.int64), 1)
    # Remainders first to whom the rounding took most; from the largest if the ones took too many.
    order = np.argsort(-(exact_k - place_k), kind="stable")
    spare = most - int(place_k.sum())
    for k in order[: max(spare, 0)]:
        place_k[k] += 1
    while place_k.sum() > most:
        place_k[int(place_k.argmax())] -= 1
    rng = np.random.default_rng(seed)
    kept = [
        rng.choice(np.flatnonzero(code_n == k), size=int(place), replace=False)
        for k, place in enumerate(place_k)
        if place > 0
    ]
    return np.sort(np.concatenate(kept)).astype(np.int64)
