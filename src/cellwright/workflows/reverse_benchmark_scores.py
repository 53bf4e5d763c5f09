"""Scores of a reverse benchmark: intervals, chance, what the own transcript explains, what wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.evaluation.intervals import Measured
from cellwright.evaluation.target_ranking import chance_of, judge_ranking, rank_metrics
from cellwright.interfaces import Check, Score
from cellwright.workflows.reverse_benchmark_exchange import Exchanged, exchanged
from cellwright.workflows.reverse_benchmark_findings import (
    METRIC,
    Key,
    against,
    chance_checks,
    sentences_of,
    size_word,
)
from cellwright.workflows.reverse_benchmark_runs import Asked, Exam
from cellwright.workflows.reverse_benchmark_thresholds import (
    Margins,
    judge_margins,
    margins_of,
    targets_of,
)

STRATA = {2: "both seen alone", 1: "one seen alone", 0: "none seen alone"}


@dataclass(frozen=True)
class Judged:
    """Everything found.

    table: one row per method, size of query, genes (visible or hidden), stratum and metric;
    random: groups at random, one row per method, size and genes; own: what the own transcripts
    explain, one row per method and size; headline: genes and k of the row that sentences are about.
    """

    table: pd.DataFrame
    random: pd.DataFrame
    own: pd.DataFrame
    headline: tuple[str, str]
    scores: tuple[dict[str, Any], ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]


def judge_all(asked: Sequence[Asked], exam: Exam, split: str, *, permutations: int) -> Judged:
    """Scores, checks and sentences of all answers."""
    honest = [a for a in asked if not a.drawn]
    answers = _gathered(honest)
    named = {
        key: margins_of([a for a in honest if (a.method, a.genes, a.k) == key], exam.screen)
        for key in answers
    }
    judged: dict[Key, dict[str, Measured]] = {}
    rows: list[dict[str, Any]] = []
    for key, answer in answers.items():
        whole = _judge(answer, exam, named[key])
        judged[key] = whole
        rows += _rows(key, "all", answer, whole, exam, exchanged(answer, exam, permutations))
        for seen, words in STRATA.items():
            keep_q = answer.stratum_q == seen
            if 0 < keep_q.sum() < len(keep_q):
                part = _only(answer, keep_q)
                margins = {at: margin_qc[keep_q] for at, margin_qc in named[key].items()}
                rows += _rows(key, words, part, _judge(part, exam, margins), exam, None)
    table = pd.DataFrame(rows)
    genes, k = _headline(answers)
    random = _random([a for a in asked if a.drawn], exam)
    own = _own(judged)
    return Judged(
        table,
        random,
        own,
        (genes, size_word(k)),
        tuple(_scores(table, judged, exam, split)),
        tuple(chance_checks(random)),
        tuple(sentences_of(table, own, judged, genes, k)),
    )


def _gathered(asked: Sequence[Asked]) -> dict[Key, Asked]:
    parts: dict[Key, list[Asked]] = {}
    for answer in asked:
        parts.setdefault((answer.method, answer.genes, answer.k), []).append(answer)
    return {
        (method, genes, k): Asked(
            method,
            genes,
            k,
            np.vstack([a.score_qc for a in found]),
            np.concatenate([a.unit_q for a in found]),
            np.concatenate([a.stratum_q for a in found]),
        )
        for (method, genes, k), found in parts.items()
    }


def _only(answer: Asked, keep_q: NDArray[np.bool_]) -> Asked:
    return Asked(
        answer.method,
        answer.genes,
        answer.k,
        answer.score_qc[keep_q],
        answer.unit_q[keep_q],
        answer.stratum_q[keep_q],
    )


def _truth(answer: Asked, exam: Exam) -> NDArray[np.bool_]:
    return targets_of(answer.unit_q, exam.screen)


def _judge(answer: Asked, exam: Exam, margins: Margins) -> dict[str, Measured]:
    target_qc = _truth(answer, exam)
    ranked = judge_ranking(answer.score_qc, target_qc, answer.unit_q, seed=exam.seed)
    return ranked | judge_margins(margins, target_qc, answer.unit_q, seed=exam.seed)


def _rows(
    key: Key,
    stratum: str,
    answer: Asked,
    judged: dict[str, Measured],
    exam: Exam,
    permuted: Exchanged | None,
) -> list[dict[str, Any]]:
    method, genes, k = key
    names = np.unique(answer.unit_q)
    blind = np.isneginf(answer.score_qc) & _truth(answer, exam)
    cannot = len(np.unique(answer.unit_q[blind.any(axis=1)]))
    return [
        {
            "method": method,
            "genes": genes,
            "k": size_word(k),
            "stratum": stratum,
            "metric": metric,
            "value": found.value,
            "low": found.interval.low,
            "high": found.interval.high,
            "interval": found.interval.method,
            "chance": found.chance,
            "perturbations": len(names),
            "queries": len(answer.unit_q),
            "cannot_score": cannot,
            "chance_permuted": permuted.chance if permuted and metric == METRIC else None,
            "p": permuted.p if permuted and metric == METRIC else None,
        }
        for metric, found in judged.items()
    ]


def _headline(answers: dict[Key, Asked]) -> tuple[str, int | None]:
    """Hidden genes where that is possible; queries of 20 cells if asked, else the last size."""
    genes = [g for _, g, _ in answers]
    sizes = [k for _, _, k in answers]
    return ("hidden" if "hidden" in genes else "visible"), (20 if 20 in sizes else sizes[-1])


def _random(drawn: Sequence[Asked], exam: Exam) -> pd.DataFrame:
    """Groups at random: with random sets as truths (chance must result), and with test names.

    The second is what a method scores without any cell that tells: its liking for some genes.
    """
    rows = []
    for (method, genes, k), answer in _gathered(drawn).items():
        named = _truth(answer, exam)
        rng = np.random.default_rng(exam.seed + 1)
        places = np.argsort(np.argsort(rng.random(named.shape), axis=1), axis=1)
        size_q = named.sum(axis=1)
        value_q = rank_metrics(answer.score_qc, places < size_q[:, None], seed=exam.seed)[METRIC]
        chance_q = np.array([_chance(int(m), named.shape[1]) for m in size_q])
        variance_q = [_chance_variance(int(m), named.shape[1]) for m in size_q]
        error = math.sqrt(sum(variance_q)) / len(value_q)
        rows.append(
            {
                "method": method,
                "genes": genes,
                "k": size_word(k),
                "groups": len(value_q),
                "value": float(value_q.mean()),
                "standard_error": error,
                "chance": float(chance_q.mean()),
                "named_after_tests": float(
                    rank_metrics(answer.score_qc, named, seed=exam.seed)[METRIC].mean()
                ),
            }
        )
    return pd.DataFrame(rows)


def _chance_variance(size: int, candidates: int) -> float:
    """Variance of the reciprocal rank of one query under a random order of the candidates."""
    later = [math.comb(candidates - r, size) for r in range(candidates - size + 2)]
    share_r = -np.diff(later) / math.comb(candidates, size)
    value_r = 1 / np.arange(1, len(later))
    return float(share_r @ value_r**2 - (share_r @ value_r) ** 2)


def _chance(size: int, candidates: int) -> float:
    return chance_of(size, candidates)[METRIC]


def _own(judged: dict[Key, dict[str, Measured]]) -> pd.DataFrame:
    """Of what a method scores above chance, the share that goes when own genes are hidden."""
    rows = []
    for (method, genes, k), found in judged.items():
        other = judged.get((method, "hidden", k))
        if genes != "visible" or other is None:
            continue
        seen, hidden = found[METRIC], other[METRIC]
        chance = seen.chance or 0.0
        share = low = high = None
        if seen.interval.low > chance:
            share = (seen.value - hidden.value) / (seen.value - chance)
            above = seen.draws_b > chance
            draws = (seen.draws_b - hidden.draws_b)[above] / (seen.draws_b[above] - chance)
            low, high = (float(x) for x in np.quantile(draws, [0.025, 0.975]))
        rows.append(
            {
                "method": method,
                "k": size_word(k),
                "visible": seen.value,
                "hidden": hidden.value,
                "chance": chance,
                "share": share,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def _scores(
    table: pd.DataFrame, judged: dict[Key, dict[str, Measured]], exam: Exam, split: str
) -> list[dict[str, Any]]:
    """Every row as a score, with the paired difference to the best other method."""
    out = []
    shown = ("k", "genes", "queries", "cannot_score", "chance_permuted", "p")
    for row in table.to_dict("records"):
        k = None if row["k"] == "all" else int(row["k"])
        key = (row["method"], row["genes"], k)
        rival = difference = None
        if row["stratum"] == "all":
            rival, difference = against(key, row["metric"], judged, row["perturbations"])
        score = Score(
            task="reverse",
            rep=row["method"],
            model=row["method"],
            metric=row["metric"],
            value=row["value"],
            low=row["low"],
            high=row["high"],
            interval=row["interval"],
            unit="perturbations",
            n=row["perturbations"],
            chance=row["chance"],
            split=split,
            fold_unit="perturbations",
            seen="clean",
            stratum=f"{row['stratum']}, {row['k']} cells, own genes {row['genes']}",
            baseline=rival,
            difference=difference,
        )
        more = {name: row[name] for name in shown}
        out.append(score.to_dict() | more)
    return out
