"""Sizes that a user lists: numbers, and all."""

from __future__ import annotations

from collections.abc import Sequence

from cellwright.errors import SettingsError


def read_sizes(given: Sequence[int | str] | str, option: str) -> tuple[int | None, ...]:
    """Numbers from ``5,20,all`` or a sequence of them, None for ``all``, each once.

    Parameters
    ----------
    option
        What the sizes were given by, for the sentence that refuses one.

    Raises
    ------
    SettingsError
        If one is no number from 1 up and not ``all``.
    """
    words = given.split(",") if isinstance(given, str) else [str(size) for size in given]
    sizes: list[int | None] = []
    for word in (w.strip() for w in words):
        if word != "all" and not (word.isdigit() and int(word) > 0):
            raise SettingsError(
                f"{option} holds {word!r}, expected numbers from 1 up and all, such as 5,20,all"
            )
        sizes.append(None if word == "all" else int(word))
    return tuple(dict.fromkeys(sizes))
