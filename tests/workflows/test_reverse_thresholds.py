"""Genes that are named: thresholds of each partition, against scikit-learn's F1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cellwright.perturbation.reverse import read_screen
from cellwright.workflows.reverse_benchmark_runs import Asked, Exam
from cellwright.workflows.reverse_benchmark_scores import judge_all
from cellwright.workflows.reverse_benchmark_thresholds import judge_margins, margins_of, targets_of

NAMES = [f"G{i:02d}" for i in range(14)]


@pytest.fixture(scope="module")
def screen():
    return read_screen(pd.DataFrame({"condition": ["control"] * 2 + NAMES * 2}))


def answers(screen, method="additive", val=NAMES, level=0.0, seed=0):
    """Scores whose truth stands two above a noise of one, at a level of the partition's own."""
    rng = np.random.default_rng(seed)

    def scored(names):
        unit = np.array(list(names) * 3)
        return rng.normal(size=(len(unit), 14)) + 2 * targets_of(unit, screen) + level, unit

    score, unit = scored(NAMES)
    val_score, val_unit = scored(val) if len(val) else (None, None)
    stratum = np.full(len(unit), -1)
    return Asked(method, "hidden", 5, score, unit, stratum, False, val_score, val_unit)


def test_every_partition_has_its_own_threshold(screen):
    both = [answers(screen), answers(screen, level=50.0, seed=1)]
    margins = margins_of(both, screen)
    named = margins[""] >= 0
    target = np.vstack([targets_of(a.unit_q, screen) for a in both])
    units = np.concatenate([a.unit_q for a in both])
    found = judge_margins(margins, target, units, seed=0)
    assert found["micro_f1"].value == pytest.approx(f1_score(target, named, average="micro"))
    assert found["macro_f1"].value == pytest.approx(f1_score(target, named, average="macro"))
    assert found["micro_f1"].value > 0.5 > found["micro_f1"].chance
    # 14 validation perturbations suffice for probabilities, so that 0.5 means something.
    assert set(found) == {"micro_f1", "macro_f1", "micro_f1@0.5", "macro_f1@0.5"}


def test_without_validation_only_probabilities_have_an_f1(screen):
    assert margins_of([answers(screen, val=())], screen) == {}
    assert set(margins_of([answers(screen, "knn", val=())], screen)) == {"@0.5"}
    assert set(margins_of([answers(screen, "mlp", val=())], screen)) == {"@0.5"}
    assert set(margins_of([answers(screen), answers(screen, val=())], screen)) == set()
    few = margins_of([answers(screen, val=NAMES[:9])], screen)
    assert set(few) == {""}


def test_distances_are_compared_within_their_queries(screen):
    asked = answers(screen, "nearest-centroid")
    level = np.random.default_rng(3).normal(0, 100, (len(asked.score_qc), 1))
    moved = replace(asked, score_qc=asked.score_qc + level, val_score_qc=3 * asked.val_score_qc)
    for at, margin_qc in margins_of([asked], screen).items():
        np.testing.assert_allclose(margins_of([moved], screen)[at], margin_qc, atol=1e-9)
    odds = replace(asked, method="mlp")
    found = margins_of([odds], screen)[""]
    np.testing.assert_allclose(np.diff(found), np.diff(odds.score_qc), atol=1e-9)


def test_a_gene_that_cannot_be_scored_is_never_named(screen):
    asked = answers(screen)
    for values in (asked.score_qc, asked.val_score_qc):
        values[:, 3] = -np.inf
    margins = margins_of([asked], screen)
    assert (margins[""][:, 3] < 0).all() and (margins["@0.5"][:, 3] < 0).all()


def test_the_table_and_the_sentence_hold_them(screen):
    exam = Exam(None, screen, None, ("additive", "knn"), (5,), "auto", 1, 0)
    asked = [answers(screen), answers(screen, "knn", val=(), seed=2)]
    found = judge_all(asked, exam, "s", permutations=0)
    metrics = found.table.groupby("method")["metric"].agg(set)
    assert {"micro_f1", "macro_f1@0.5"} <= metrics["additive"]
    assert "micro_f1" not in metrics["knn"] and "micro_f1@0.5" in metrics["knn"]
    assert any("additive has the highest micro F1" in s for s in found.sentences)
    score = next(s for s in found.scores if s["metric"] == "micro_f1")
    assert score["baseline"] is None
