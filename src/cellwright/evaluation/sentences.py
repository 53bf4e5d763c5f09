"""Scores as plain sentences a report can print, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from cellwright.interfaces import Score

# What knows nothing of biology, and how a sentence calls it.
SHORTCUTS: Mapping[str, str] = {
    "depth": "depth alone",
    "batch": "the batch label alone",
    "depth+batch": "depth and the batch label together",
}

WORDS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "f1_positive": "F1",
    "roc_auc": "AUC",
    "ari": "ARI",
    "nmi": "NMI",
}

MARKS: Mapping[str, str] = {
    "clean": "",
    "seen-unlabelled": " It has seen these cells, without their labels.",
    "seen-labelled": " It has seen these cells with their labels.",
    "unknown": " Whether it has seen these cells is unknown.",
}


class Paired(Protocol):
    """A paired difference ``rep - rival``: see ``comparison.Difference``."""

    @property
    def rep(self) -> str: ...
    @property
    def rival(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def standing(low: float, high: float) -> str:
    """What the 95 % interval of a paired difference allows to say: better, worse, or neither."""
    if low > 0:
        return "better than"
    return "worse than" if high < 0 else "not told apart from"


def verdicts(
    scores: Sequence[Score],
    differences: Iterable[Paired] = (),
    *,
    metric: str = "accuracy",
    shortcuts: Mapping[str, str] = SHORTCUTS,
) -> list[str]:
    """One or more sentences per design and representation that is no baseline.

    Against the best simple method: "beats every simple method", "the simple method wins" or "does
    not beat" it, decided by whether the paired interval excludes 0. Then every shortcut it does
    not beat ("does not beat depth alone"), and whether it is above chance at all. Each holds both
    values, their intervals and the difference; what the representation has seen follows.
    """
    pairs = [d for d in differences if d.metric == metric]
    whole = {(s.split, s.rep): s for s in scores if s.metric == metric and s.stratum == "all"}
    baselines = {(d.split, d.rival) for d in pairs}
    lines = []
    for (split, rep), score in whole.items():
        if (split, rep) in baselines:
            continue
        own = [d for d in pairs if d.split == split and d.rep == rep]
        against = {d.rival: whole[split, d.rival] for d in own}
        best = next((d for d in own if d.rival == score.baseline), None)
        if best is not None:
            lines.append(_against_best(score, against[best.rival], best, shortcuts))
        for d in own:
            if d is not best and d.rival in shortcuts and d.low <= 0:
                lines.append(_against_shortcut(score, against[d.rival], d, shortcuts))
        if score.chance is not None and score.low <= score.chance:
            lines.append(
                f"{rep} ({_word(score)} {score_phrase(score)}) is not above chance "
                f"({_digits(score.chance, 2)}){_where(score)}."
            )
    return lines


def score_phrase(score: Score) -> str:
    """The value with its interval: ``0.80 [0.74, 0.85]``.

    More digits where two would round a value below 1 up to 1.
    """
    digits = 3 if 0.995 <= max(score.value, score.low) < 1 else 2
    value, low, high = (_digits(x, digits) for x in (score.value, score.low, score.high))
    return f"{value} [{low}, {high}]"


def _against_best(score: Score, rival: Score, d: Paired, shortcuts: Mapping[str, str]) -> str:
    name = shortcuts.get(d.rival, d.rival)
    own = f"{d.rep} ({_word(score)} {score_phrase(score)})"
    other = f"{name} ({score_phrase(rival)})"
    if d.low > 0:
        said = f"{own} beats every simple method; the best of them is {other}"
    elif d.high < 0:
        said = f"The simple method wins: {other} is better than {own}"
    else:
        said = f"{own} does not beat {other}"
    return f"{said}: difference {_gap(d)}{_where(score)}.{MARKS[score.seen]}"


def _against_shortcut(score: Score, rival: Score, d: Paired, shortcuts: Mapping[str, str]) -> str:
    verb = "is worse than" if d.high < 0 else "does not beat"
    return (
        f"{d.rep} ({_word(score)} {score_phrase(score)}) {verb} {shortcuts[d.rival]} "
        f"({score_phrase(rival)}): difference {_gap(d)}{_where(score)}.{MARKS[score.seen]}"
    )


def _gap(d: Paired) -> str:
    # A third digit where two would print a limit that decides the verdict as 0.00.
    small = any(0 < abs(x) < 0.005 for x in (d.value, d.low, d.high))
    value, low, high = (_digits(x, 3 if small else 2) for x in (d.value, d.low, d.high))
    return f"{value} [{low}, {high}]"


def _digits(x: float, digits: int) -> str:
    text = f"{x:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _word(score: Score) -> str:
    return WORDS.get(score.metric, score.metric.replace("_", " "))


def _where(score: Score) -> str:
    if score.split == "grouped":
        return f", whole {score.fold_unit} held out"
    if score.split == "random":
        return ", random cells held out"
    return ", on the given test cells" if score.split == "given" else ""
