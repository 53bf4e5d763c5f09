"""Training curves show the numbers of the history and name the reference to beat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from cellwright.errors import DataError
from cellwright.report.canvas import rendered
from cellwright.report.curves import (
    loss_curve,
    masked_accuracy_curve,
    perplexity_curve,
    training_curves,
    zero_nonzero_curve,
)


@pytest.fixture
def history() -> pd.DataFrame:
    epoch = np.arange(1, 6)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": [2.4, 2.1, 1.9, 1.8, 1.75],
            "val_loss": [2.3, 2.0, 1.85, 1.79, 1.80],
            "perplexity": np.exp([2.3, 2.0, 1.85, 1.79, 1.80]),
            "masked_accuracy": [0.38, 0.40, 0.42, 0.43, 0.43],
            "zero_accuracy": [0.7, 0.75, 0.8, 0.8, 0.8],
            "nonzero_accuracy": [0.1, 0.12, 0.14, 0.15, 0.16],
            "ref_uniform": 14.0,
            "ref_unigram": 6.7,
            "ref_unigram_depth": 6.1,
            "ref_majority_accuracy": 0.39,
        }
    )


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_loss_lines_are_the_columns_and_the_lowest_is_marked(history: pd.DataFrame) -> None:
    train, val, lowest = loss_curve(history).get_lines()
    assert np.array_equal(train.get_ydata(), history["train_loss"])
    assert np.array_equal(val.get_ydata(), history["val_loss"])
    assert (lowest.get_xdata()[0], lowest.get_ydata()[0]) == (4, 1.79)


def test_the_best_reference_is_heavy_and_named(history: pd.DataFrame) -> None:
    ax = perplexity_curve(history)
    lines = {float(line.get_ydata()[0]): line for line in ax.get_lines()}
    assert set(lines) == {history["perplexity"][0], 6.1, 6.7}
    assert lines[6.1].get_linewidth() > 2 > lines[6.7].get_linewidth()
    best = [text for text in legend(ax) if "best without a network" in text]
    assert best == ["best without a network, 6.10:\nbin frequencies knowing the cell's depth"]


def test_a_named_best_reference_wins_over_the_lowest(history: pd.DataFrame) -> None:
    assert any("6.70:" in text for text in legend(perplexity_curve(history, best="unigram")))


def test_a_weak_reference_does_not_flatten_the_curve(history: pd.DataFrame) -> None:
    ax = perplexity_curve(history)
    assert ax.get_ylim()[1] < 14
    assert "uniform over the bins in use, 14.00 (above the axis)" in legend(ax)


def test_the_rule_stands_with_the_perplexity(history: pd.DataFrame) -> None:
    ax = perplexity_curve(history, rule="20 bins; 15 % masked")
    assert "20 bins; 15 % masked" in [text.get_text() for text in ax.texts]


def test_majority_line(history: pd.DataFrame) -> None:
    model, majority = masked_accuracy_curve(history).get_lines()
    assert np.array_equal(model.get_ydata(), history["masked_accuracy"])
    assert np.array_equal(majority.get_ydata(), history["ref_majority_accuracy"])


def test_nan_one_epoch_and_missing_columns_are_drawn_as_far_as_they_go(
    history: pd.DataFrame,
) -> None:
    history.loc[2, ["val_loss", "perplexity", "ref_unigram"]] = np.nan
    rendered(training_curves(history), "png", dpi=40)
    rendered(training_curves(history.head(1)), "png", dpi=40)
    grid = training_curves(history[["epoch", "val_loss"]])
    assert [bool(ax.axison) for ax in grid.flat] == [True, False, False, False]


@pytest.mark.parametrize(
    ("draw", "column"),
    [
        (loss_curve, "train_loss"),
        (perplexity_curve, "perplexity"),
        (masked_accuracy_curve, "masked_accuracy"),
        (zero_nonzero_curve, "zero_accuracy"),
    ],
)
def test_a_history_without_the_column_says_what_it_has(draw, column: str) -> None:
    with pytest.raises(DataError, match=f"the columns epoch, speed .* {column}"):
        draw(pd.DataFrame({"epoch": [1], "speed": [2.0]}))


def test_no_history_at_all() -> None:
    with pytest.raises(DataError, match="0 rows and the columns no columns"):
        training_curves(pd.DataFrame())
