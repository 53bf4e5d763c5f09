"""Curves of a run on ranks: what is drawn is what the history holds, the model always in sight."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.curves import learned, perplexity_curve, places_curve, training_curves

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [8.5, 8.3, 8.1],
        "val_loss": [8.5, 8.4, 8.3],
        "perplexity": np.exp([8.5, 8.4, 8.3]),
        "free_perplexity": [4000.0, 3500.0, 3100.0],
        "hidden_perplexity": [5100.0, 5000.0, 4900.0],
        "masked_accuracy": [0.01, 0.02, 0.03],
        "hidden_accuracy": [0.0, 0.01, 0.01],
        "ref_uniform": [13000.0] * 3,
        "ref_token_decile_free": [1000.0] * 3,
        "ref_majority_accuracy": [0.1] * 3,
    }
)


def test_a_model_far_above_its_references_stays_in_sight():
    ax = perplexity_curve(HISTORY, best="token_decile_free")
    low, high = ax.get_ylim()
    assert low < 1000 and high > 13000 and ax.get_yscale() == "log"
    assert ax.get_title(loc="left") == "Perplexity of masked genes"
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "uniform over the genes, 13000.00" in words


def test_the_three_kinds_of_places_are_drawn_beside_the_best_reference():
    ax = places_curve(HISTORY)
    drawn = {line.get_label(): line.get_ydata().tolist() for line in ax.get_lines()}
    assert drawn["places that show <mask>"] == [5100.0, 5000.0, 4900.0]
    assert drawn["genes shown ruled out"] == [4000.0, 3500.0, 3100.0]
    assert drawn["best without a network"] == [1000.0] * 3
    with pytest.raises(DataError, match="hidden_perplexity"):
        places_curve(HISTORY[["epoch", "train_loss"]])


def test_what_was_learned_decides_on_the_pictures():
    assert learned(HISTORY) == "genes"
    assert learned(HISTORY.drop(columns="hidden_perplexity")) == "bins"
    assert training_curves(HISTORY)[1, 1].get_ylabel() == "Perplexity (genes)"
