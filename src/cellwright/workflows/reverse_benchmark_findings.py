"""What a reverse benchmark says in words: what wins, against what, and whether it can be believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellwright.evaluation.intervals import Measured, paired_difference
from cellwright.interfaces import Check
from cellwright.training.reverse_settings import ENCODERS

METRIC = "mrr"
BLIND = "frequency"
# Standard errors from chance that a method may be by luck: hundreds of rows are looked at.
FAR = 4.0
LEVEL = 0.05

Key = tuple[str, str, int | None]


def size_word(k: int | None) -> str:
    """A size of query in words."""
    return "all" if k is None else str(k)


def against(
    key: Key, metric: str, judged: dict[Key, dict[str, Measured]], units: int
) -> tuple[str | None, dict[str, float] | None]:
    """The best other method of the same queries, and the paired difference to it."""
    mine = judged[key][metric]
    others = {
        m: f[metric]
        for (m, g, k), f in judged.items()
        if (g, k) == key[1:] and m != key[0] and metric in f
    }
    if not others:
        return None, None
    best = max(others, key=lambda name: others[name].value)
    other = others[best]
    found = paired_difference(
        mine.value,
        other.value,
        mine.draws_b,
        other.draws_b,
        mine.interval,
        other.interval,
        np.ones(units, dtype=np.int64),
        value_u=mine.value_u,
        rival_u=other.value_u,
    )
    return best, found


def chance_checks(random: pd.DataFrame) -> list[Check]:
    """Whether every method scores at chance on groups drawn at random."""
    if random.empty:
        return []
    off = (random["value"] - random["chance"]).abs() > FAR * random["standard_error"]
    if not off.any():
        n = int(random["groups"].max())
        return [
            Check(
                "random_groups",
                "note",
                f"Cells drawn at random ({n} groups for each method) score at chance: mean "
                f"reciprocal rank {random['value'].min():.3f} to {random['value'].max():.3f}, "
                f"chance {random['chance'].mean():.3f}.",
            )
        ]
    worst = random[off].iloc[0]
    return [
        Check(
            "random_groups",
            "failure",
            f"{int(off.sum())} rows do not score at chance on cells drawn at random, "
            f"{worst['method']} at {worst['k']} cells first: mean reciprocal rank "
            f"{worst['value']:.3f}, chance {worst['chance']:.3f}.",
            "something beside the cells tells the answer: trust none of the scores",
        )
    ]


def sentences_of(
    table: pd.DataFrame,
    own: pd.DataFrame,
    judged: dict[Key, dict[str, Measured]],
    genes: str,
    k: int | None,
) -> list[str]:
    """What wins, beside what it must beat, and what it owes to the own transcripts."""
    words = size_word(k)
    rows = table[(table.genes == genes) & (table.k == words) & (table.metric == METRIC)]
    whole = rows[rows.stratum == "all"].sort_values("value", ascending=False, kind="stable")
    best = whole.iloc[0]
    asked = "all cells of a condition" if k is None else f"{k} cell{'s' * (k > 1)}"
    start = (
        f"Asked about {asked} with candidates' own genes {genes}, {best['method']} ranks best: "
        f"mean reciprocal rank {best['value']:.3f} [{best['low']:.3f}, {best['high']:.3f}] over "
        f"{best['perturbations']} perturbations, chance {best['chance']:.3f}"
    )
    start += "." if pd.isna(best["p"]) else f", permutation p {best['p']:.2g}."
    out = [start]
    if best["low"] <= best["chance"]:
        doubt = pd.isna(best["p"]) or best["p"] > LEVEL
        out.append(
            "Its interval holds chance"
            + (": no method can be said to find the gene here." if doubt else ".")
        )
    if len(whole) > 1:
        rival, d = against((best["method"], genes, k), METRIC, judged, int(best["perturbations"]))
        if d is not None:
            verdict = "better than" if d["low"] > 0 else "not told apart from"
            out.append(
                f"It is {verdict} {rival}, the best of the others (difference {d['value']:+.3f} "
                f"[{d['low']:+.3f}, {d['high']:+.3f}])."
            )
    out += _against_blind(best, genes, k, judged)
    out += _of_pretraining(genes, k, judged, int(best["perturbations"]))
    out += _own_chance(whole)
    out += _named_right(table, genes, words)
    lame = whole[whole.cannot_score > 0]
    if len(lame):
        named = ", ".join(f"{r.method} {r.cannot_score}" for r in lame.itertuples())
        out.append(
            f"Perturbations of {best['perturbations']} with a gene that a method cannot score, "
            f"which it ranks last: {named}."
        )
    known = own[(own.k == words) & own.share.notna()] if len(own) else own
    if len(known):
        top = known.sort_values("visible", ascending=False).iloc[0]
        # Whole per cents, in which a rounded "-0" is 0.
        share, low, high = (round(100 * top[name]) for name in ("share", "low", "high"))
        out.append(
            f"With all genes visible {top['method']} is best ({top['visible']:.3f}); targets' own "
            f"transcripts explain {share} % of what it scores above chance [{low}, {high}]."
        )
    return out


def _named_right(table: pd.DataFrame, genes: str, words: str) -> list[str]:
    """The best F1 of naming genes, at the threshold from validation, else at one half."""
    rows = table[(table.genes == genes) & (table.k == words) & (table.stratum == "all")]
    for metric, where in (
        ("micro_f1", "a threshold chosen on validation perturbations"),
        ("micro_f1@0.5", "probability 0.5, for want of validation perturbations"),
    ):
        found = rows[rows.metric == metric].sort_values("value", ascending=False, kind="stable")
        if len(found):
            best = found.iloc[0]
            return [
                f"Naming every gene above {where}, {best['method']} has the highest micro F1: "
                f"{best['value']:.3f} [{best['low']:.3f}, {best['high']:.3f}], chance "
                f"{best['chance']:.3f}."
            ]
    return []


def _against_blind(
    best: Any, genes: str, k: int | None, judged: dict[Key, dict[str, Measured]]
) -> list[str]:
    """What the best adds to how often genes are perturbed in training, which needs no cell."""
    if best["method"] == BLIND or (BLIND, genes, k) not in judged:
        return []
    pair = {key: judged[key] for key in ((best["method"], genes, k), (BLIND, genes, k))}
    _, d = against((best["method"], genes, k), METRIC, pair, int(best["perturbations"]))
    if d is None:
        return []
    value = judged[(BLIND, genes, k)][METRIC].value
    return [
        f"How often a gene is perturbed in training, without any cell, scores {value:.3f} "
        f"(difference {d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}])."
    ]


def _of_pretraining(
    genes: str, k: int | None, judged: dict[Key, dict[str, Measured]], units: int
) -> list[str]:
    """What a pretrained encoder adds to the same network from random weights."""
    keys = [(method, genes, k) for method in ENCODERS]
    if any(key not in judged for key in keys):
        return []
    _, d = against(keys[0], METRIC, {key: judged[key] for key in keys}, units)
    if d is None:
        return []
    trained, untrained = (judged[key][METRIC].value for key in keys)
    return [
        f"Pretraining: {ENCODERS[0]} scores {trained:.3f}, the same network from random weights "
        f"{untrained:.3f} (difference {d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}])."
    ]


def _own_chance(whole: pd.DataFrame) -> list[str]:
    """Chance that keeps each method's liking for genes, which a split may set against the truth."""
    known = whole[whole["chance_permuted"].notna()]
    if known.empty:
        return []
    low, high = known["chance_permuted"].min(), known["chance_permuted"].max()
    said = (
        "With truths exchanged among test perturbations, which keeps a method's liking for genes, "
        f"mean reciprocal ranks are {low:.3f} to {high:.3f} where a random order has "
        f"{known['chance'].iloc[0]:.3f}."
    )
    blind = known[
        (known.method == BLIND) & (known.high < known[["chance", "chance_permuted"]].max(axis=1))
    ]
    if blind.empty:
        return [said]
    found = blind.iloc[0]
    return [
        said,
        f"{BLIND} scores {found['value']:.3f} where it has {found['chance_permuted']:.3f} with truths "
        "exchanged: a held-out perturbation takes from the counts of its own genes, so that in this "
        "split what leans on them falls below chance without any effect.",
    ]
