"""What each source of knowledge adds: variants judged on the same queries, paired over perturbations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.evaluation.intervals import (
    Interval,
    Measured,
    accelerated,
    paired_difference,
    percentile,
)
from cellwright.evaluation.sentences import standing
from cellwright.evaluation.target_ranking import judge_ranking
from cellwright.interfaces import Score
from cellwright.perturbation.reverse import Screen

METRIC = "mrr"
METRICS = ("mrr", "exact_set@1", "recall@5", "auprc")


@dataclass(frozen=True)
class Variant:
    """name: none, all, only, without or shuffled; source: the one that it is about; draw: which."""

    name: str
    source: str = ""
    draw: int = 0

    @property
    def label(self) -> str:
        return f"{self.name} {self.source}".strip()


@dataclass(frozen=True)
class VariantAnswer:
    """What a method with a variant of knowledge answered in one partition."""

    method: str
    variant: Variant
    score_qc: NDArray[np.float64]
    unit_q: NDArray[np.str_]
    stratum_q: NDArray[np.int64]


@dataclass(frozen=True)
class JudgedAblation:
    """table: a row per method, variant and metric; differences: what each source adds."""

    table: pd.DataFrame
    differences: pd.DataFrame
    scores: tuple[dict[str, Any], ...]
    sentences: tuple[str, ...]


def judge_ablation(
    answers: Sequence[VariantAnswer], screen: Screen, split: str, *, seed: int = 0
) -> JudgedAblation:
    """Means over perturbations, and paired differences of what a source adds.

    ``alone``: only this source against none; ``shuffled``: against the same numbers on other
    genes, the mean of the draws; ``left out``: all sources against all but this one.
    """
    units = len({name for a in answers for name in a.unit_q.tolist()})
    judged = _judged(answers, screen, units, seed)
    blind = _blind(answers, screen)
    rows = [
        {
            "method": method,
            "variant": label,
            "metric": metric,
            "value": m.value,
            "low": m.interval.low,
            "high": m.interval.high,
            "interval": m.interval.method,
            "chance": m.chance,
            "perturbations": units,
            "cannot_score": blind[method, label],
        }
        for (method, label), found in judged.items()
        for metric, m in found.items()
    ]
    differences = _differences(judged, units)
    table = pd.DataFrame(rows)
    return JudgedAblation(
        table,
        differences,
        tuple(_scores(table, judged, split, units)),
        tuple(_sentences(table, differences)),
    )


def _judged(
    answers: Sequence[VariantAnswer], screen: Screen, units: int, seed: int
) -> dict[tuple[str, str], dict[str, Measured]]:
    """Partitions joined; draws of a shuffle averaged, with the same resamples."""
    parts: dict[tuple[str, Variant], list[VariantAnswer]] = {}
    for answer in answers:
        parts.setdefault((answer.method, answer.variant), []).append(answer)
    draws: dict[tuple[str, str], list[dict[str, Measured]]] = {}
    for (method, variant), found in parts.items():
        unit_q = np.concatenate([a.unit_q for a in found])
        truth = screen.targets_pc[[screen.index(str(n)) for n in unit_q]]
        score = np.vstack([a.score_qc for a in found])
        judged = judge_ranking(score, truth, unit_q, seed=seed)
        draws.setdefault((method, variant.label), []).append({m: judged[m] for m in METRICS})
    return {
        key: {m: _mean([d[m] for d in found], units) for m in METRICS}
        for key, found in draws.items()
    }


def _mean(found: Sequence[Measured], units: int) -> Measured:
    if len(found) == 1:
        return found[0]
    draws_b = np.mean([m.draws_b for m in found], axis=0)
    value = float(np.mean([m.value for m in found]))
    known = [m.value_u for m in found if m.value_u is not None]
    if len(known) < len(found):
        low, high = percentile(draws_b, float(units))
        return Measured(value, draws_b, Interval(low, high, "bootstrap"), found[0].chance)
    value_u = np.mean(known, axis=0)
    low, high = accelerated(value_u, draws_b)
    return Measured(value, draws_b, Interval(low, high, "bca"), found[0].chance, value_u)


def _blind(answers: Sequence[VariantAnswer], screen: Screen) -> dict[tuple[str, str], int]:
    """Perturbations with a gene that a method cannot score."""
    units: dict[tuple[str, str], set[str]] = {}
    for a in answers:
        truth = screen.targets_pc[[screen.index(str(n)) for n in a.unit_q]]
        lame = (np.isneginf(a.score_qc) & truth).any(axis=1)
        units.setdefault((a.method, a.variant.label), set()).update(a.unit_q[lame].tolist())
    return {key: len(names) for key, names in units.items()}


def _differences(judged: dict[tuple[str, str], dict[str, Measured]], units: int) -> pd.DataFrame:
    rows = []
    for method in dict.fromkeys(m for m, _ in judged):
        sources = [
            v.removeprefix("only ") for m, v in judged if m == method and v.startswith("only ")
        ]
        for source in sources:
            pairs = {
                "alone": (f"only {source}", "none"),
                "shuffled": (f"only {source}", f"shuffled {source}"),
                "left out": ("all", f"without {source}"),
            }
            for comparison, (one, other) in pairs.items():
                if (method, one) not in judged or (method, other) not in judged:
                    continue
                for metric in METRICS:
                    d = _paired(judged[method, one][metric], judged[method, other][metric], units)
                    rows.append(
                        {"method": method, "source": source, "comparison": comparison}
                        | {"with": one, "against": other, "metric": metric}
                        | {"difference": d["value"], "low": d["low"], "high": d["high"]}
                    )
    return pd.DataFrame(rows)


def _paired(one: Measured, other: Measured, units: int) -> dict[str, float]:
    return paired_difference(
        one.value, other.value, one.draws_b, other.draws_b, one.interval, other.interval,
        np.ones(units, dtype=np.int64), value_u=one.value_u, rival_u=other.value_u,
    )  # fmt: skip


def _scores(
    table: pd.DataFrame,
    judged: dict[tuple[str, str], dict[str, Measured]],
    split: str,
    units: int,
) -> list[dict[str, Any]]:
    out = []
    for row in table.to_dict("records"):
        mine = judged[row["method"], row["variant"]][row["metric"]]
        none = judged[row["method"], "none"][row["metric"]]
        plain = row["variant"] == "none"
        score = Score(
            task="reverse-ablation",
            rep=f"{row['method']}, {row['variant']}",
            model=row["method"],
            metric=row["metric"],
            value=row["value"],
            low=row["low"],
            high=row["high"],
            interval=row["interval"],
            unit="perturbations",
            n=units,
            chance=row["chance"],
            split=split,
            fold_unit="perturbations",
            seen="clean",
            baseline=None if plain else f"{row['method']}, none",
            difference=None if plain else _paired(mine, none, units),
        )
        out.append(score.to_dict() | {"variant": row["variant"]})
    return out


def _sentences(table: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """For each source: what it adds alone, and whether it matters which gene it belongs to."""
    out = []
    for method in dict.fromkeys(table.method):
        rows = table[(table.method == method) & (table.metric == METRIC)].set_index("variant")
        none = rows.loc["none"]
        out.append(
            f"{method} without knowledge: mean reciprocal rank {none['value']:.3f} "
            f"[{none['low']:.3f}, {none['high']:.3f}] over {none['perturbations']} perturbations, "
            f"chance {none['chance']:.3f}"
            + (
                f"; it cannot score a gene of {none['cannot_score']} of them."
                if none["cannot_score"]
                else "."
            )
        )
        mine = differences[(differences.method == method) & (differences.metric == METRIC)]
        for source in dict.fromkeys(mine.source):
            found = mine[mine.source == source].set_index("comparison")
            words = [
                f"{_VERBS[name]} {standing(d['low'], d['high'])} {_AGAINST[name]}"
                f"{_LAST if name == 'alone' and none['cannot_score'] else ''} "
                f"({d['difference']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}])"
                for name, d in found.to_dict("index").items()
            ]
            real = found.loc["shuffled"]["low"] > 0
            out.append(
                f"{source} with {method}: {'; '.join(words)}: "
                + ("it helps." if real else "that it helps is not shown.")
            )
    return out


_LAST = ", which ranks genes never seen last"
_VERBS = {"alone": "alone", "shuffled": "on the right genes", "left out": "with the others"}
_AGAINST = {
    "alone": "no knowledge",
    "shuffled": "the same numbers shuffled between genes",
    "left out": "the others without it",
}
