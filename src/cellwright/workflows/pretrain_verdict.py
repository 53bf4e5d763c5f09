"""What a pretraining run may claim: its perplexity beside the best reference, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.comparison import FEWEST_UNITS
from cellwright.evaluation.intervals import percentile, units_worth
from cellwright.evaluation.resampling import by_row, by_unit
from cellwright.interfaces import Score

REFERENCE_WORDS = {
    "uniform": "a blind guess over the bins in use",
    "unigram": "each gene's bin frequencies",
    "unigram_masked": "each gene's bin frequencies under the masking rule",
    "unigram_depth": "bin frequencies among cells of like depth",
    "nearest_cells": "the nearest training cells",
    "token": "how often each gene is a token",
    "token_decile": "how often each gene stands in that tenth of the ranking",
    "token_free": "how often each gene that the cell does not show is a token",
    "token_decile_free": (
        "how often each gene that the cell does not show stands in that tenth of the ranking"
    ),
}


def perplexity_scores(
    model_nll_n: NDArray[np.float64],
    reference_nll_n: Mapping[str, NDArray[np.float64]],
    best: str,
    unit_n: NDArray[np.str_],
    unit: str,
    *,
    split: str,
    seed: int,
    task: str = "masked-bins",
    others_n: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
    weight_n: NDArray[np.float64] | None = None,
) -> list[Score]:
    """Perplexity of the model and of every reference on the same masked positions.

    Intervals are percentiles over resampled units (libraries, donors, or cells where the split
    is by cells; cells too where there are fewer than six units, over which an interval would be
    a pretence: ``perplexity_by_unit`` lists them). The difference is paired, perplexity of the
    model minus that of the best reference: below zero the model is better.

    Parameters
    ----------
    others_n
        Further networks, or the same one judged another way.
    weight_n
        Masked positions of each cell, over which its loss is a mean; None where all have as many.
    """
    resamples, names_u = by_unit(unit_n, seed=seed)
    if len(names_u) < FEWEST_UNITS:
        resamples, unit = by_row(len(unit_n), seed=seed), "cells"
    weight_n = np.ones(len(unit_n)) if weight_n is None else weight_n
    sizes_u = np.bincount(resamples.unit_m, weights=weight_n, minlength=resamples.n_units)
    units = units_worth(resamples.sizes_u)

    def perplexities(nll_n: NDArray[np.float64]) -> NDArray[np.float64]:
        sums_u = np.bincount(
            resamples.unit_m, weights=nll_n * weight_n, minlength=resamples.n_units
        )
        drawn = [np.exp((w @ sums_u) / (w @ sizes_u)) for w in resamples.weights()]
        return np.concatenate(drawn)

    networks = {"model": model_nll_n, **others_n}
    everyone = {**networks, **reference_nll_n}
    draws = {name: perplexities(nll) for name, nll in everyone.items()}
    values = {
        name: float(np.exp(np.average(nll, weights=weight_n))) for name, nll in everyone.items()
    }
    scores = []
    for name, value in values.items():
        low, high = percentile(draws[name], units)
        gap_low, gap_high = percentile(draws[name] - draws[best], units)
        gap = {"value": value - values[best], "low": gap_low, "high": gap_high}
        scores.append(
            Score(
                task=task,
                rep=name,
                model="network" if name in networks else "reference",
                metric="perplexity",
                value=value,
                low=low,
                high=high,
                interval="bootstrap",
                unit=unit,
                n=resamples.n_units,
                chance=values.get("uniform"),
                split=split,
                fold_unit=unit,
                # Validation cells chose the best epoch.
                seen="clean" if split == "test" else "seen-unlabelled",
                baseline=None if name == best else best,
                difference=None if name == best else gap,
                higher_is_better=False,
            )
        )
    return scores


def perplexity_by_unit(
    model_nll_n: NDArray[np.float64],
    best_nll_n: NDArray[np.float64],
    unit_n: NDArray[np.str_],
    unit: str,
    *,
    weight_n: NDArray[np.float64] | None = None,
) -> list[dict[str, Any]]:
    """Each unit by itself where there are too few for an interval over them, else nothing.

    Returns
    -------
    Per unit ``unit`` (the column), ``name``, ``cells``, and the perplexity of ``model`` and of the
    ``best_reference``.
    """
    names_u, sizes_u = np.unique(unit_n, return_counts=True)
    if unit == "cells" or len(names_u) >= FEWEST_UNITS:
        return []
    weight_n = np.ones(len(unit_n)) if weight_n is None else weight_n

    def perplexity(nll_n: NDArray[np.float64], at: NDArray[np.bool_]) -> float:
        return float(np.exp(np.average(nll_n[at], weights=weight_n[at])))

    return [
        {
            "unit": unit,
            "name": str(name),
            "cells": int(size),
            "model": perplexity(model_nll_n, unit_n == name),
            "best_reference": perplexity(best_nll_n, unit_n == name),
        }
        for name, size in zip(names_u, sizes_u, strict=True)
    ]


def still_falling(val_losses: Sequence[float], share: float = 0.1, least: float = 0.002) -> bool:
    """Whether the validation loss fell by more than ``least`` nats over the last tenth of the epochs."""
    if len(val_losses) < 2:
        return True
    back = max(1, round(len(val_losses) * share))
    return val_losses[-1 - back] - val_losses[-1] > least


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The findings of ``metrics.json`` in plain words, the comparison first."""
    best = metrics["best_reference"]
    words = REFERENCE_WORDS[best]
    ranks = metrics.get("task") == "masked-ranks"
    what = "genes" if ranks else "bins"
    by_name = {score["rep"]: score for score in metrics["scores"]}
    model, reference = by_name["model"], by_name[best]
    gap = model["difference"]
    where = f"{metrics['cells'][metrics['scored_on']]} {metrics['scored_on']} cells"
    enough = model["n"] >= FEWEST_UNITS
    if enough and gap["high"] < 0:
        verdict = "is better than"
    elif enough and gap["low"] > 0:
        verdict = "is worse than"
    else:
        verdict = "is not shown to be better than"
    found = [
        f"On {where} the model's perplexity of masked {what} is {model['value']:.2f} "
        f"[{model['low']:.2f}, {model['high']:.2f}]; it {verdict} the best guess without a network, "
        f"{words} ({reference['value']:.2f}): difference {gap['value']:+.2f} "
        f"[{gap['low']:+.2f}, {gap['high']:+.2f}], 95 % over {model['n']} {_plural(model['unit'])}."
    ]
    listed = metrics["by_unit"]
    if listed:
        each = ", ".join(
            f"{row['name']} {row['model']:.2f} against {row['best_reference']:.2f} ({row['cells']} "
            "cells)"
            for row in listed
        )
        found.append(
            f"The interval is one over cells: with {len(listed)} in all, values of "
            f"{listed[0]['unit']} are too few for one over them (at least {FEWEST_UNITS}); each by "
            f"itself: {each}."
        )
    accuracy = metrics["masked_accuracy"]
    simple = "the likeliest gene not shown" if ranks else "each gene's commonest bin"
    found.append(
        f"It names {accuracy['model']:.1%} of the masked {what} right; {simple} "
        f"names {accuracy['majority']:.1%}."
    )
    if ranks:
        found.append(_ruled_out(by_name["model_free"], metrics["hidden_perplexity"]))
    gap_loss = metrics["gap"]["val"] - metrics["gap"]["train"]
    found.append(
        f"At the best epoch ({metrics['best_epoch']} of {metrics['epochs']}) the validation loss is "
        f"{abs(gap_loss):.3f} nats {'above' if gap_loss >= 0 else 'below'} the training loss."
    )
    if metrics["still_falling"]:
        found.append("The validation loss was still falling at the end: more epochs would help.")
    if metrics["scored_on"] == "val":
        found.append(
            "There are no test cells: these are validation cells, on which the best epoch was chosen."
        )
    return found


def _ruled_out(free: Mapping[str, Any], hidden: float | None) -> str:
    """The model with the same knowledge as the best references, and where nothing is shown."""
    gap = free["difference"]
    words = (
        f"With the genes ruled out that the cell shows elsewhere (no gene stands twice), the same "
        f"model's perplexity is {free['value']:.2f}: difference to that guess {gap['value']:+.2f} "
        f"[{gap['low']:+.2f}, {gap['high']:+.2f}]."
    )
    if hidden is None:
        return words
    return f"{words} As it is, at the places that show <mask> alone it is {hidden:.2f}."


def _plural(unit: str) -> str:
    return unit if unit.endswith("s") else f"values of {unit}"
