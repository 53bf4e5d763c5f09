"""What a run may claim: intervals against a plain bootstrap, and the words against the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.evaluation.resampling import by_unit
from cellwright.workflows.pretrain_verdict import (
    perplexity_by_unit,
    perplexity_scores,
    sentences,
    still_falling,
)

RNG = np.random.default_rng(0)
UNITS = np.repeat([f"donor{i}" for i in range(8)], [30, 10, 20, 25, 5, 40, 15, 35])
SHIFT = np.repeat(RNG.normal(0, 0.1, 8), [30, 10, 20, 25, 5, 40, 15, 35])
MODEL = 2.0 + SHIFT + RNG.normal(0, 0.2, UNITS.size)
NEAREST = MODEL + 0.1 + RNG.normal(0, 0.02, UNITS.size)
UNIFORM = np.full(UNITS.size, np.log(20.0))


def scores(unit_n=UNITS, unit="donor", model=MODEL, nearest=NEAREST):
    found = perplexity_scores(
        model,
        {"uniform": UNIFORM[: len(model)], "nearest_cells": nearest},
        "nearest_cells",
        unit_n,
        unit,
        split="test",
        seed=0,
    )
    return {score.rep: score for score in found}


def test_values_and_paired_differences():
    found = scores()
    assert found["model"].value == pytest.approx(np.exp(MODEL.mean()), rel=1e-12)
    assert found["uniform"].value == pytest.approx(20.0, rel=1e-12)
    gap = found["model"].difference
    assert gap["value"] == pytest.approx(np.exp(MODEL.mean()) - np.exp(NEAREST.mean()), rel=1e-9)
    assert found["model"].baseline == "nearest_cells"
    assert found["nearest_cells"].difference is None
    assert not found["model"].higher_is_better and found["model"].chance == pytest.approx(20.0)
    # Paired: far narrower than the two intervals beside each other.
    assert gap["high"] - gap["low"] < 0.5 * (found["model"].high - found["model"].low)


def test_the_interval_is_a_bootstrap_of_whole_donors():
    """Draw by draw: all cells of the drawn donors, pooled."""
    resamples, names_u = by_unit(UNITS, seed=0)
    rows = [np.flatnonzero(name == UNITS) for name in names_u]
    draws = []
    for weights in resamples.weights():
        for drawn_u in weights:
            taken = np.concatenate([np.tile(r, int(w)) for r, w in zip(rows, drawn_u, strict=True)])
            draws.append(np.exp(MODEL[taken].mean()))
    found = scores()["model"]
    low, high = np.quantile(draws, [0.025, 0.975])
    # The tails are widened for few donors: at least the plain percentiles, at most twice as wide.
    assert found.low <= low < found.value < high <= found.high
    assert (found.high - found.low) < 2 * (high - low)
    assert (found.unit, found.n) == ("donor", 8)


@pytest.mark.parametrize(("donors", "unit"), [(6, "donor"), (5, "cells"), (1, "cells")])
def test_fewer_than_six_donors_have_no_interval_of_their_own(donors, unit):
    some = np.isin(UNITS, [f"donor{i}" for i in range(donors)])
    found = scores(UNITS[some], "donor", MODEL[some], NEAREST[some])["model"]
    assert found.unit == unit
    assert found.n == (donors if unit == "donor" else some.sum())
    assert found.low < found.value < found.high
    listed = perplexity_by_unit(MODEL[some], NEAREST[some], UNITS[some], "donor")
    assert len(listed) == (0 if unit == "donor" else donors)
    for row in listed:
        own = row["name"] == UNITS
        assert row["cells"] == own.sum()
        assert row["model"] == pytest.approx(np.exp(MODEL[own].mean()), rel=1e-12)
        assert row["best_reference"] == pytest.approx(np.exp(NEAREST[own].mean()), rel=1e-12)


def test_cells_are_not_listed_one_by_one():
    assert perplexity_by_unit(MODEL[:3], NEAREST[:3], np.array(["a", "b", "c"]), "cells") == []


@pytest.mark.parametrize(
    ("losses", "falling"),
    [
        ([3.0], True),
        ([3.0, 2.0], True),
        ([3.0, 3.1], False),
        ([3.0, 2.0, 1.0], True),
        ([3.0, 1.0, 1.0], False),
        ([2.0 - 0.01 * i for i in range(30)], True),
        ([2.0 - 0.0005 * i for i in range(30)], False),
        ([3.0, 2.0, 2.1, 2.2], False),
    ],
)
def test_whether_the_curve_still_falls(losses, falling):
    assert still_falling(losses) is falling


def metrics(**changes):
    found = scores()
    return {
        "best_reference": "nearest_cells",
        "scores": [score.to_dict() for score in found.values()],
        "by_unit": [],
        "cells": {"train": 500, "val": 50, "test": 180},
        "scored_on": "test",
        "masked_accuracy": {"model": 0.5, "majority": 0.4},
        "best_epoch": 7,
        "epochs": 9,
        "gap": {"train": 1.75, "val": 2.0},
        "still_falling": False,
    } | changes


def with_gap(low, high, n=8):
    found = metrics()
    found["scores"][0]["difference"] = {"value": (low + high) / 2, "low": low, "high": high}
    found["scores"][0]["n"] = n
    return found


@pytest.mark.parametrize(
    ("low", "high", "n", "words"),
    [
        (-0.5, -0.1, 8, "it is better than the best guess"),
        (0.1, 0.5, 8, "it is worse than the best guess"),
        (-0.5, 0.1, 8, "it is not shown to be better than the best guess"),
        (-0.5, -0.1, 5, "it is not shown to be better than the best guess"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_difference(low, high, n, words):
    assert words in sentences(with_gap(low, high, n))[0]


def test_the_sentences_hold_the_numbers():
    first, second, third = sentences(metrics())
    assert "On 180 test cells" in first and "the nearest training cells" in first
    assert f"{np.exp(MODEL.mean()):.2f}" in first and "95 % over 8 values of donor" in first
    assert "50.0% of the masked bins right" in second and "40.0%" in second
    assert "(7 of 9) the validation loss is 0.250 nats above the training loss" in third
    more = sentences(metrics(still_falling=True, scored_on="val"))
    assert "still falling" in more[3] and "There are no test cells" in more[4]
    listed = [{"unit": "donor", "name": "d1", "cells": 9, "model": 5.0, "best_reference": 6.0}]
    assert "d1 5.00 against 6.00 (9 cells)" in sentences(metrics(by_unit=listed))[1]
