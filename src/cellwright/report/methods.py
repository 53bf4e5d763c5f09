"""Which representations are models, which the simple methods and shortcuts they must beat."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from cellwright.evaluation.sentences import SHORTCUTS
from cellwright.interfaces import Score

Kind = Literal["model", "simple", "shortcut"]

KIND_NAMES: dict[str, str] = {
    "model": "model",
    "simple": "simple method",
    "shortcut": "technical shortcut",
}
KIND_ORDER = ("model", "simple", "shortcut")
SIMPLE = ("hvg", "pca", "expression", "untrained")

METRIC_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "f1_positive": "F1 of the positive class",
    "roc_auc": "ROC-AUC",
    "ari": "Adjusted Rand index",
    "nmi": "Normalized mutual information",
    "homogeneity": "Homogeneity",
    "completeness": "Completeness",
    "majority_accuracy": "Majority-vote accuracy",
}

SPLIT_NAMES = {
    "grouped": "whole groups held out",
    "random": "random cells held out",
    "given": "the split of the file",
    "none": "nothing held out",
}

SEEN_NAMES = {
    "clean": "not seen",
    "seen-unlabelled": "seen without labels",
    "seen-labelled": "seen with labels",
    "unknown": "unknown",
}


def as_dicts(scores: Sequence[Score | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Scores as dictionaries, whichever form they came in."""
    return [s.to_dict() if isinstance(s, Score) else dict(s) for s in scores]


def kinds(
    scores: Sequence[Score | Mapping[str, Any]], baselines: Collection[str] | None = None
) -> dict[str, Kind]:
    """The kind of every representation in ``scores``.

    With ``baselines`` None a representation is a model if one of its scores has a paired
    difference to a baseline, a baseline if another's score names it or its name is that of a
    simple method, and a model otherwise.
    """
    rows = as_dicts(scores)
    names = list(dict.fromkeys(str(row.get("rep")) for row in rows))
    judged = {str(row["rep"]) for row in rows if row.get("difference") is not None}
    named = {str(row["baseline"]) for row in rows if row.get("baseline") is not None}
    found: dict[str, Kind] = {}
    for name in names:
        stem = name.split(":", 1)[0].split(" ", 1)[0]
        if baselines is not None:
            simple = name in baselines
        else:
            simple = name not in judged and (
                name in named or stem in SIMPLE or name in SHORTCUTS or bool(judged)
            )
        found[name] = "model" if not simple else "shortcut" if name in SHORTCUTS else "simple"
    return found


def design_words(row: Mapping[str, Any]) -> str:
    """What was held out: ``whole library_label held out``."""
    split, unit = str(row.get("split")), str(row.get("fold_unit") or "")
    if split == "grouped" and unit:
        return f"whole {unit} held out"
    return SPLIT_NAMES.get(split, split)


def metric_name(metric: str) -> str:
    """A metric in words."""
    if metric.endswith("_matched"):
        return f"{metric_name(metric.removesuffix('_matched'))}, matched"
    return METRIC_NAMES.get(metric, metric.replace("_", " ").capitalize())
