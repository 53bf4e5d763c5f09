"""Splits of perturbations by name: no perturbation is ever on both sides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cellwright.config import nearest
from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.reverse import Screen

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class ReverseSplit:
    """Conditions in training, validation and test; control cells are in training always.

    strata: of each test condition how many of its genes are perturbed alone in training (2, 1, 0).

    Raises
    ------
    DataError
        If a condition is on two sides, or there is nothing to train on or to test.
    """

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    strata: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            both = sorted(set(getattr(self, one)) & set(getattr(self, other)))
            if both:
                raise DataError(
                    f"the split {self.name} has {len(both)} perturbations in {one} and in {other}, "
                    f"{both[0]!r} first; a perturbation may be on one side only"
                )
        for part in ("train", "test"):
            if not getattr(self, part):
                raise DataError(f"the split {self.name} has no perturbation in {part}")


def ahlmann_eltze(screen: Screen, seed: int = 0) -> ReverseSplit:
    """Half of the doubles train, a quarter validates, a quarter tests; all singles train.

    The design of Ahlmann-Eltze, Huber and Anders 2025 (doi:10.1038/s41592-025-02772-6); five seeds
    make its five partitions.
    """
    doubles = _enough(screen, 4, "ahlmann-eltze-2025")
    order = np.random.default_rng(seed).permutation(doubles).tolist()
    half, quarter = len(order) // 2, (len(order) - len(order) // 2) // 2
    train = (*screen.singles, *order[:half])
    return _split(
        screen,
        f"ahlmann-eltze-2025 {seed}",
        train,
        order[half : half + quarter],
        order[half + quarter :],
    )


def mambaperturb(screen: Screen, seed: int = 0, *, val: float = 0.15) -> ReverseSplit:
    """30 % of the doubles test; validation is carved from the other doubles; all singles train."""
    doubles = _enough(screen, 4, "mambaperturb-2025")
    order = np.random.default_rng(seed).permutation(doubles).tolist()
    n_test = max(1, round(0.3 * len(order)))
    n_val = max(1, round(val * (len(order) - n_test)))
    train = (*screen.singles, *order[n_test + n_val :])
    return _split(
        screen, f"mambaperturb-2025 {seed}", train, order[n_test : n_test + n_val], order[:n_test]
    )


def leave_one_double_out(screen: Screen) -> tuple[ReverseSplit, ...]:
    """Each double tests once; everything else trains, without validation perturbations."""
    doubles = _enough(screen, 2, "leave-one-double-out")
    return tuple(
        _split(
            screen,
            f"leave-one-double-out {double}",
            [c for c in screen.conditions if c != double],
            [],
            [double],
        )
        for double in doubles
    )


def unseen_singles(
    screen: Screen, seed: int = 0, *, test: float = 0.2, val: float = 0.1
) -> ReverseSplit:
    """Genes that are never perturbed in training, alone or in a double.

    A share of the singly perturbed genes tests; every double that holds one of them is left out.
    Only methods that can score a gene they never saw perturbed can answer.
    """
    singles = screen.singles
    if len(singles) < 5:
        raise DataError(
            f"unseen-singles needs five single perturbations or more, the data have {len(singles)}"
        )
    order = np.random.default_rng(seed).permutation(singles).tolist()
    n_test, n_val = max(1, round(test * len(order))), max(1, round(val * len(order)))
    tested, validated = order[:n_test], order[n_test : n_test + n_val]
    hidden = {*tested, *validated}
    train = [
        c for c, g in zip(screen.conditions, screen.genes_p, strict=True) if not hidden & set(g)
    ]
    return _split(screen, f"unseen-singles {seed}", train, validated, tested)


SPLITS = ("ahlmann-eltze-2025", "mambaperturb-2025", "leave-one-double-out", "unseen-singles")
GUIDES, CONTEXTS = "guides-held-out", "contexts-held-out"
"""Splits that need cells and not only names: :mod:`.reverse_cell_splits`."""


def named_splits(screen: Screen, name: str, seed: int = 0) -> tuple[ReverseSplit, ...]:
    """The splits of a name; several only for ``leave-one-double-out``.

    Raises
    ------
    SettingsError
        For an unknown name; the nearest is named.
    """
    if name == "ahlmann-eltze-2025":
        return (ahlmann_eltze(screen, seed),)
    if name == "mambaperturb-2025":
        return (mambaperturb(screen, seed),)
    if name == "leave-one-double-out":
        return leave_one_double_out(screen)
    if name == "unseen-singles":
        return (unseen_singles(screen, seed),)
    every = (*SPLITS, GUIDES, CONTEXTS)
    close = nearest(name, every)
    raise SettingsError(
        f"no split {name!r}"
        + (f": did you mean {close!r}?" if close else "")
        + f" (known: {', '.join(every)}, and split files, which end in .json)"
    )


def read_split(
    path: Path | str, screen: Screen, *, aliases: Mapping[str, str] | None = None
) -> tuple[ReverseSplit, tuple[str, ...]]:
    """A split file: JSON with ``train_conditions``, ``val_conditions`` and ``test_conditions``.

    Returns
    -------
    The split, and the conditions in it that the data do not have (left out).

    Raises
    ------
    DataError
        If it is no such file, a condition is on two sides, or nothing of it is in the data.
    """
    path = Path(path)
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as a split file: {error}") from error
    keys = [f"{part}_conditions" for part in PARTS]
    if not isinstance(given, dict) or not all(isinstance(given.get(key), list) for key in keys):
        raise DataError(f"{path} is no split file: expected JSON with lists {', '.join(keys)}")
    aliases = dict(aliases or {})
    parts: list[list[str]] = []
    absent: list[str] = []
    for key in keys:
        named = [_normal(str(name), aliases) for name in given[key]]
        absent += [name for name in named if name and name not in screen.conditions]
        parts.append([name for name in dict.fromkeys(named) if name in screen.conditions])
    if absent and not any(parts):
        raise DataError(
            f"none of the conditions in {path} is in the data: it names {absent[0]!r}, the data "
            f"{screen.conditions[0]!r}; is it the split of another screen?"
        )
    split = _split(screen, path.stem, *parts)
    return split, tuple(dict.fromkeys(absent))


def write_split(split: ReverseSplit, path: Path | str, *, force: bool = False) -> None:
    """Write a split file that :func:`read_split` reads.

    Raises
    ------
    RunError
        If ``path`` exists and ``force`` is False.
    """
    path = Path(path)
    refuse_existing(path, force=force)
    content = {
        "name": split.name,
        **{f"{part}_conditions": list(getattr(split, part)) for part in PARTS},
        "test_strata": {
            f"seen{n}": [c for c, s in split.strata.items() if s == n] for n in (2, 1, 0)
        },
    }
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _split(
    screen: Screen, name: str, train: Sequence[str], val: Sequence[str], test: Sequence[str]
) -> ReverseSplit:
    kept = tuple(map(str, train))
    strata = {str(c): screen.seen_alone(str(c), kept) for c in test}
    return ReverseSplit(name, kept, tuple(map(str, val)), tuple(map(str, test)), strata)


def _normal(name: str, aliases: Mapping[str, str]) -> str:
    genes = [part.strip() for part in name.split("+")]
    return "+".join(
        sorted({aliases.get(g, g) for g in genes if g.lower() not in ("ctrl", "control")})
    )


def _enough(screen: Screen, least: int, name: str) -> tuple[str, ...]:
    if len(screen.doubles) < least:
        raise DataError(
            f"the split {name} needs {least} double perturbations or more, the data have "
            f"{len(screen.doubles)}; use unseen-singles, or another screen"
        )
    return screen.doubles
