"""Figures of a reverse run draw what they are given, and refuse what they cannot draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.reverse_ranking_figure import ranking_figure
from cellwright.report.reverse_train_figures import (
    naming_curves,
    pathway_figure,
    reliability_figure,
)


def history():
    names = [
        f"{side}_{what}" for side in ("train", "val", "unseen") for what in ("loss", "mrr", "f1")
    ]
    return pd.DataFrame({"epoch": [1, 2, 3], **{n: [0.2, 0.5, 0.9] for n in names}})


def test_curves_of_known_and_unseen_perturbations_share_their_plots():
    axes = naming_curves(history(), best_epoch=2)
    assert [len(ax.get_lines()) for ax in axes[0]] == [4, 4, 4]
    without = history().drop(columns=["val_loss", "val_mrr", "val_f1"])
    assert [len(ax.get_lines()) for ax in naming_curves(without)[0]] == [2, 2, 2]
    with pytest.raises(DataError, match="train_mrr"):
        naming_curves(pd.DataFrame({"epoch": [1], "val_loss": [1.0]}))


def test_pathways_are_shares_of_their_rows_without_numbers_of_terms():
    names = ["growth (GO:0001)", "death (GO:0002)", "in none of these"]
    ax = pathway_figure(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0.0]]), names)
    assert [t.get_text() for t in ax.get_yticklabels()][:2] == ["growth", "death"]
    assert [t.get_text() for t in ax.texts][:3] == ["1\n50%", "1\n50%", "0\n0%"]
    large = pathway_figure(np.diag([1.0] * 6 + [3.0]), [f"P{i}" for i in range(7)])
    assert "100" in [t.get_text() for t in large.texts]
    shared = pathway_figure(np.eye(3), ["REACTOME_A_B", "REACTOME_C", "in none of these"])
    assert next(t.get_text() for t in shared.get_xticklabels()) == "A B"


def test_reliability_says_whether_it_is_calibrated():
    table = pd.DataFrame({"said": [0.1, 0.8], "came_true": [0.2, 0.9], "weight": [9.0, 1.0]})
    ax = reliability_figure(table, calibrated=False)
    assert any("uncalibrated" in t.get_text() for t in ax.texts)
    with pytest.raises(DataError, match="no probability"):
        reliability_figure(table.head(0), calibrated=True)


def test_a_ranking_has_evidence_for_its_first_genes_and_shows_its_flag():
    table = pd.DataFrame(
        {"gene": ["A", "B", "C"], "probability": [0.9, 0.3, 0.1], "firm": [1, 0.5, 0]}
    )
    proof = pd.DataFrame(
        {
            "gene": ["A", "A"],
            "measured_gene": ["X", "Y"],
            "shift": [1.0, -1],
            "log_odds_lost": [2, -1.0],
        }
    )
    axes = ranking_figure(table, proof, title="ill", flag="Out of distribution. Because.")
    assert axes.shape == (1, 2)
    assert "Out of distribution" in axes[0, 0].figure.get_suptitle()
    assert [t.get_text() for t in axes[0, 1].get_yticklabels()] == ["X up", "Y down"]
    with pytest.raises(DataError, match="'ill'"):
        ranking_figure(table.head(0), proof, title="ill")
