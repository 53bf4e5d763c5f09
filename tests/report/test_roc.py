"""ROC curves carry the area under them, equal to an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from cellwright.report.roc import roc_curves


def entries(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.fixture
def curves() -> tuple[dict, dict]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    found, area = {}, {}
    for name, strength in (("model", 2.0), ("depth", 0.7)):
        score = truth * strength + rng.normal(size=300)
        fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
        found[name] = {"fpr": fpr.tolist(), "tpr": tpr.tolist()}
        area[name] = roc_auc_score(truth, score)
    return found, area


def test_area_under_the_curve_equals_that_of_scikit_learn(curves) -> None:
    found, area = curves
    assert entries(roc_curves(found, baselines=["depth"])) == [
        f"model  {area['model']:.3f}",
        f"depth  {area['depth']:.3f}",
        "chance  0.500",
    ]


def test_a_given_area_is_printed_instead(curves) -> None:
    found, _ = curves
    assert "model  0.987" in entries(roc_curves(found, auc={"model": 0.987, "depth": float("nan")}))


def test_models_are_solid_and_heavy_baselines_dashed_and_thin(curves) -> None:
    model, depth, _ = roc_curves(curves[0], baselines=["depth"]).get_lines()
    assert model.get_linestyle() == "-"
    assert depth.get_linestyle() != "-"
    assert model.get_linewidth() > depth.get_linewidth()


def test_an_empty_curve_is_left_out(curves) -> None:
    found, _ = curves
    assert len(entries(roc_curves({**found, "none": {"fpr": [], "tpr": []}}))) == 3
