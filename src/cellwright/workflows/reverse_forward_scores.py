"""Scores of predicted shifts: means over perturbations, paired differences, what wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.evaluation.sentences import standing
from cellwright.evaluation.shift_prediction import METRICS, mean_over_perturbations
from cellwright.interfaces import Score

HEADLINE = "l2"
# Of each perturbation in one order, by method, genes and metric.
Values = dict[tuple[str, str, str], NDArray[np.float64]]
_STRATA: dict[int | None, str] = {
    None: "all",
    2: "both seen alone",
    1: "one seen alone",
    0: "none seen alone",
}
_WORDS = {"l2": "distance (L2, lower is better)", "pearson_delta": "Pearson delta"}


@dataclass(frozen=True)
class JudgedForward:
    """table: a row per method, genes, stratum and metric; scores: the same with differences."""

    table: pd.DataFrame
    scores: tuple[dict[str, Any], ...]
    sentences: tuple[str, ...]


def judge_forward(each: pd.DataFrame, split: str, *, seed: int = 0) -> JudgedForward:
    """Mean over perturbations with an interval; a perturbation tested twice counts once, by its mean.

    Parameters
    ----------
    each
        A row per partition, perturbation, method, genes and metric.
    """
    rows: list[dict[str, Any]] = []
    values: Values = {}
    for (genes, metric), part in each.groupby(["genes", "metric"], sort=False):
        for stratum, words in _STRATA.items():
            chosen = part if stratum is None else part[part.seen_alone == stratum]
            if chosen.empty or (stratum is not None and len(chosen) == len(part)):
                continue
            for method, own in chosen.groupby("method", sort=False):
                by_unit = own.groupby("perturbation", sort=True)
                value_u = by_unit["value"].mean().to_numpy(dtype=np.float64)
                row = {
                    "method": method,
                    "genes": genes,
                    "stratum": words,
                    "metric": metric,
                    "perturbations": len(value_u),
                    "unknown_gene": int(by_unit["unknown_gene"].any().sum()),
                    "noise_floor": float(by_unit["noise_floor"].mean().mean()),
                }
                value = low = high = np.nan
                made_by = "none"
                if np.isfinite(value_u).all():
                    value, span = mean_over_perturbations(value_u, seed=seed)
                    if span is not None:
                        low, high, made_by = span.low, span.high, span.method
                    if stratum is None:
                        values[(str(method), str(genes), str(metric))] = value_u
                rows.append(row | {"value": value, "low": low, "high": high, "interval": made_by})
    table = pd.DataFrame(rows)
    return JudgedForward(
        table, tuple(_scores(table, values, split)), tuple(_sentences(table, values))
    )


def best_other(
    row: Any, table: pd.DataFrame, values: Values
) -> tuple[str | None, dict[str, float] | None]:
    """The best of the other methods, and the paired difference to it (this less that)."""
    rivals = table[
        (table.genes == row["genes"])
        & (table.metric == row["metric"])
        & (table.stratum == "all")
        & (table.method != row["method"])
        & table.value.notna()
    ]
    key = (row["method"], row["genes"], row["metric"])
    if rivals.empty or key not in values:
        return None, None
    best = rivals.loc[rivals.value.idxmax() if METRICS[row["metric"]] else rivals.value.idxmin()]
    return best["method"], paired(key, (best["method"], *key[1:]), values)


def paired(
    one: tuple[str, str, str], other: tuple[str, str, str], values: Values
) -> dict[str, float] | None:
    """Difference of two means over the same perturbations with its 95 % interval, if there are two."""
    value, span = mean_over_perturbations(values[one] - values[other])
    return None if span is None else {"value": value, "low": span.low, "high": span.high}


def _scores(table: pd.DataFrame, values: Values, split: str) -> list[dict[str, Any]]:
    out = []
    for row in table.to_dict("records"):
        rival = difference = None
        if row["stratum"] == "all":
            rival, difference = best_other(row, table, values)
        score = Score(
            task="reverse-forward",
            rep=row["method"],
            model=row["method"],
            metric=row["metric"],
            value=row["value"],
            low=row["low"],
            high=row["high"],
            interval=row["interval"],
            unit="perturbations",
            n=row["perturbations"],
            chance=None,
            split=split,
            fold_unit="perturbations",
            seen="clean",
            stratum=f"{row['stratum']}, own genes {row['genes']}",
            baseline=rival,
            difference=difference,
            higher_is_better=METRICS[row["metric"]],
        )
        more = {name: row[name] for name in ("genes", "unknown_gene", "noise_floor")}
        out.append(score.to_dict() | more)
    return out


def _sentences(table: pd.DataFrame, values: Values) -> list[str]:
    """What predicts best, beside the next best, and what is left beyond noise."""
    genes = "hidden" if "hidden" in set(table.genes) else "visible"
    out = []
    for metric, upward in METRICS.items():
        rows = table[
            (table.genes == genes) & (table.metric == metric) & (table.stratum == "all")
        ].dropna(subset=["value"])
        if rows.empty:
            continue
        best = rows.sort_values("value", ascending=not upward, kind="stable").iloc[0]
        text = (
            f"Closest by {_WORDS[metric]}: {best['method']}, {best['value']:.3f} "
            f"[{best['low']:.3f}, {best['high']:.3f}] over {best['perturbations']} perturbations"
        )
        rival, d = best_other(best, table, values)
        if rival is not None and d is not None:
            sign = 1 if upward else -1
            words = standing(*sorted((sign * d["low"], sign * d["high"])))
            text += (
                f", {words} {rival} (difference {d['value']:+.3f} [{d['low']:+.3f}, "
                f"{d['high']:+.3f}])"
            )
        out.append(text + ".")
        if metric == HEADLINE:
            out.append(
                f"A perfect prediction would be {best['noise_floor']:.3f} away, because observed "
                "shifts are means over few cells."
            )
    lame = table[(table.stratum == "all") & (table.genes == genes) & (table.metric == HEADLINE)]
    lame = lame[lame.unknown_gene > 0]
    if len(lame):
        named = ", ".join(f"{r.method} {r.unknown_gene}" for r in lame.itertuples())
        out.append(
            f"Perturbations of {int(lame.perturbations.iloc[0])} with a gene that a method knows "
            f"nothing of: {named}."
        )
    return out
