"""What a representation has seen of the cells it is judged on, cell by cell and at worst."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.interfaces import Seen

ORDER = {"clean": 0, "seen-unlabelled": 1, "unknown": 2, "seen-labelled": 3}


def worst_seen(seen_m: NDArray[np.str_], *, name: str, where: str) -> Seen:
    """The worst of the judged cells: clean, seen-unlabelled, unknown.

    Raises
    ------
    DataError
        If the representation was trained on the labels of any of them: such a score means nothing.
    """
    worst = max((str(s) for s in np.unique(seen_m)), key=ORDER.__getitem__)
    if worst == "seen-labelled":
        known = int((seen_m == worst).sum())
        raise DataError(
            f"{name} was trained on the labels of {known} of the {len(seen_m)} cells {where}, so its "
            "score would mean nothing; judge it on cells whose labels it has not seen"
        )
    return cast(Seen, worst)
