"""What a pretraining run may claim: its perplexity beside the best reference, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.intervals import percentile, units_worth
from cellwright.evaluation.resampling import by_unit
from cellwright.interfaces import Score

REFERENCE_WORDS = {
    "uniform": "a blind guess over the bins in use",
    "unigram": "each gene's bin frequencies",
    "unigram_masked": "each gene's bin frequencies under the masking rule",
    "unigram_depth": "bin frequencies among cells of like depth",
    "nearest_cells": "the nearest training cells",
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
) -> list[Score]:
    """Perplexity of the model and of every reference on the same masked positions.

    Intervals are percentiles over resampled units (libraries, donors, or cells where the split
    is by cells); the difference is paired, perplexity of the model minus that of the best
    reference: below zero the model is better.
    """
    resamples, _ = by_unit(unit_n, seed=seed)
    sizes_u = resamples.sizes_u.astype(np.float64)
    units = units_worth(resamples.sizes_u)

    def perplexities(nll_n: NDArray[np.float64]) -> NDArray[np.float64]:
        sums_u = np.bincount(resamples.unit_m, weights=nll_n, minlength=resamples.n_units)
        drawn = [np.exp((w @ sums_u) / (w @ sizes_u)) for w in resamples.weights()]
        return np.concatenate(drawn)

    everyone = {"model": model_nll_n, **reference_nll_n}
    draws = {name: perplexities(nll) for name, nll in everyone.items()}
    values = {name: float(np.exp(nll.mean())) for name, nll in everyone.items()}
    scores = []
    for name, value in values.items():
        low, high = percentile(draws[name], units)
        gap_low, gap_high = percentile(draws[name] - draws[best], units)
        gap = {"value": value - values[best], "low": gap_low, "high": gap_high}
        scores.append(
            Score(
                task="masked-bins",
                rep=name,
                model="network" if name == "model" else "reference",
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
                seen="clean",
                baseline=None if name == best else best,
                difference=None if name == best else gap,
                higher_is_better=False,
            )
        )
    return scores


def still_falling(val_losses: Sequence[float], share: float = 0.1, least: float = 0.002) -> bool:
    """Whether the validation loss fell by more than ``least`` nats over the last tenth of the epochs."""
    if len(val_losses) < 3:
        return True
    back = max(1, round(len(val_losses) * share))
    return val_losses[-1 - back] - val_losses[-1] > least


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The findings of ``metrics.json`` in plain words, the comparison first."""
    best = metrics["best_reference"]
    words = REFERENCE_WORDS[best]
    by_name = {score["rep"]: score for score in metrics["scores"]}
    model, reference = by_name["model"], by_name[best]
    gap = model["difference"]
    where = f"{metrics['cells'][metrics['scored_on']]} {metrics['scored_on']} cells"
    if gap["high"] < 0:
        verdict = "is better than"
    elif gap["low"] > 0:
        verdict = "is worse than"
    else:
        verdict = "is not shown to be better than"
    found = [
        f"On {where} the model's perplexity of masked bins is {model['value']:.2f} "
        f"[{model['low']:.2f}, {model['high']:.2f}]; it {verdict} the best guess without a network, "
        f"{words} ({reference['value']:.2f}): difference {gap['value']:+.2f} "
        f"[{gap['low']:+.2f}, {gap['high']:+.2f}], 95 % over {model['n']} {_plural(model['unit'])}."
    ]
    accuracy = metrics["masked_accuracy"]
    found.append(
        f"It names {accuracy['model']:.1%} of the masked bins right; each gene's commonest bin "
        f"names {accuracy['majority']:.1%}."
    )
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


def _plural(unit: str) -> str:
    return unit if unit.endswith("s") else f"values of {unit}"
