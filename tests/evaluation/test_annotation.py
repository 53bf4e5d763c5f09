"""The annotation task on planted labels: truth found, order irrelevant, nothing leaks, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.annotation import Annotation
from cellwright.evaluation.probe import fit_probe
from cellwright.interfaces import CellView, Task


def task_of(cells, **settings) -> Annotation:
    settings = {"groups_n": cells.groups_n, "group_name": "donor", "resamples": 300} | settings
    return Annotation(cells.codes_n, cells.classes, cells.names_n, **settings)


def test_it_is_a_task(planted) -> None:
    task = task_of(planted())
    assert isinstance(task, Task)
    assert (task.name, task.needs) == ("annotation", "cells")


def test_every_design_answers_for_its_held_out_cells(planted) -> None:
    cells = planted(240, 3)
    split = np.where(np.isin(cells.groups_n, ["donor00", "donor01"]), "test", "train")
    task = task_of(cells, split_n=split, designs=("grouped", "random", "given"))
    grouped, random, given = task.predict(cells.view("pca", cells.vectors(2.0)))
    assert sorted(grouped.rows_m) == list(range(240))
    assert (grouped.unit, random.unit, given.unit) == ("donor", "cells", "donor")
    assert len(random.rows_m) == 48
    assert set(given.rows_m) == set(np.flatnonzero(split == "test"))
    for answers in (grouped, random, given):
        assert list(cells.names_n[answers.rows_m]) == sorted(cells.names_n[answers.rows_m])
        assert np.array_equal(answers.truth_m, cells.codes_n[answers.rows_m])
        assert answers.probability_mk.sum(axis=1) == pytest.approx(np.ones(len(answers.rows_m)))
        assert (answers.predicted_m == answers.truth_m).mean() > 0.8
        assert len(answers.fitted) == answers.fold_m.max() + 1


def test_each_cell_is_answered_by_a_probe_of_the_other_groups(planted) -> None:
    cells = planted(150, 2, 6)
    x = cells.vectors(1.0)
    answers = task_of(cells, designs=("grouped",)).predict(cells.view("pca", x))[0]
    fold = answers.rows_m[answers.fold_m == 2]
    train = np.flatnonzero(~np.isin(cells.groups_n, cells.groups_n[fold]))
    expected = fit_probe(x[train], cells.codes_n[train], cells.classes).probability(x[fold])
    assert answers.probability_mk[answers.fold_m == 2] == pytest.approx(expected, abs=1e-9)


def test_vectors_are_fitted_on_the_training_cells_of_the_fold(planted) -> None:
    cells = planted(120, 2, 6)
    x = cells.vectors(1.0)
    asked: list[frozenset[int]] = []

    def vectors(fit_rows: np.ndarray) -> np.ndarray:
        asked.append(frozenset(fit_rows.tolist()))
        return x

    view = replace(cells.view("pca", x), vectors=vectors, refitted_per_fold=True)
    task = task_of(cells)
    designs = task.draw()
    task.predict(view)
    assert asked == [frozenset(f.train.tolist()) for d in designs for f in d.folds]
    asked.clear()
    task.predict(replace(view, refitted_per_fold=False))
    assert len(asked) == 1


def test_the_order_of_the_cells_does_not_matter(planted) -> None:
    cells = planted(160, 2, 8)
    x = cells.vectors(0.6)
    turn = np.random.default_rng(3).permutation(160)
    turned = replace(
        cells,
        codes_n=cells.codes_n[turn],
        groups_n=cells.groups_n[turn],
        names_n=cells.names_n[turn],
    )
    first = task_of(cells).predict(cells.view("pca", x))
    second = task_of(turned).predict(turned.view("pca", x[turn]))
    for a, b in zip(first, second, strict=True):
        assert list(cells.names_n[a.rows_m]) == list(turned.names_n[b.rows_m])
        assert a.probability_mk == pytest.approx(b.probability_mk, abs=1e-6)
    scores = [task_of(cells).score(a, []) for a in first]
    again = [task_of(turned).score(b, []) for b in second]
    for a, b in zip(np.concatenate(scores), np.concatenate(again), strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-6)


def test_held_out_labels_never_reach_their_answers(planted) -> None:
    """Swapping the labels of one fold's held-out cells leaves the answers for them as they are."""
    cells = planted(200, 2, 10)
    x = cells.vectors(0.8)
    split = np.where(np.isin(cells.groups_n, ["donor00", "donor03"]), "test", "train")
    swapped = replace(cells, codes_n=np.where(split == "test", 1 - cells.codes_n, cells.codes_n))
    first, second = (
        task_of(c, split_n=split, designs=("given",)).predict(c.view("pca", x))[0]
        for c in (cells, swapped)
    )
    assert np.array_equal(first.probability_mk, second.probability_mk)


def test_scores_have_all_that_the_design_asks(planted) -> None:
    cells = planted(300, 3, 30)
    task = task_of(cells, positive="type b", designs=("grouped",))
    good = task.predict(cells.view("encoder", cells.vectors(2.0), seen="unknown"))[0]
    weak = task.predict(cells.view("depth", cells.vectors(0.2), baseline=True))[0]
    scores = {s.metric: s for s in task.score(good, [weak])}
    assert list(scores) == ["accuracy", "balanced_accuracy", "macro_f1", "f1_positive", "roc_auc"]
    for score in scores.values():
        assert 0 <= score.low <= score.value <= score.high <= 1
        assert (score.unit, score.n, score.fold_unit) == ("donor", 30, "donor")
        assert (score.baseline, score.seen, score.task) == ("depth", "unknown", "annotation")
        assert score.difference is not None
        assert 0 < score.difference["low"] <= score.difference["value"]
        assert score.chance is not None
        assert score.chance < score.low


def test_cells_without_a_label_take_no_part(planted) -> None:
    cells = planted(200)
    codes = np.where(np.arange(200) < 50, -1, cells.codes_n)
    x = cells.vectors(1.0)
    x[:50] = np.nan
    for answers in task_of(replace(cells, codes_n=codes)).predict(cells.view("pca", x)):
        assert (answers.rows_m >= 50).all()


def test_folds_lie_inside_the_unseen_cells(planted) -> None:
    cells = planted(300)
    unseen = np.arange(300) >= 150
    for design in task_of(cells, unseen_n=unseen).draw():
        for fold in design.folds:
            assert unseen[np.r_[fold.train, fold.test]].all()


def test_the_worst_that_was_seen_marks_the_score(planted) -> None:
    cells = planted(100)
    view = cells.view("run", cells.vectors(1.0))
    for seen, expected in (
        (["clean"], "clean"),
        (["clean", "seen-unlabelled"], "seen-unlabelled"),
        (["unknown", "seen-unlabelled"], "unknown"),
    ):
        marked = replace(view, seen_n=np.resize(np.array(seen), 100))
        assert {a.seen for a in task_of(cells).predict(marked)} == {expected}


def test_labels_seen_in_training_are_refused(planted) -> None:
    cells = planted(100)
    view = cells.view("tuned", cells.vectors(1.0), seen="seen-labelled")
    with pytest.raises(DataError, match="tuned was trained on the labels of 100 of the 100 cells"):
        task_of(cells).predict(view)


def test_the_final_probe_is_fitted_on_every_labelled_cell(planted) -> None:
    cells = planted(120)
    codes = np.where(np.arange(120) % 5 == 0, -1, cells.codes_n)
    x = cells.vectors(1.0)
    probe = task_of(replace(cells, codes_n=codes)).fit_all(cells.view("pca", x))
    rows = np.flatnonzero(codes >= 0)
    expected = fit_probe(x[rows], codes[rows], cells.classes)
    assert np.array_equal(probe.coef_kd, expected.coef_kd)


def test_fifty_cells_and_two_donors_are_enough(planted) -> None:
    cells = planted(50, 2, 2)
    task = task_of(cells, shuffles=4)
    view = cells.view("pca", cells.vectors(2.0, dims=30))
    found = task.judge(task.predict(view))
    assert {s.stratum for s in found.scores if s.split == "grouped"} == {
        "all",
        "donor00",
        "donor01",
    }
    assert [c.name for c in found.checks] == ["few-units", "folds"]
    assert len(task.control(view)) == 2


def test_a_type_of_one_donor_is_named_in_a_check(planted) -> None:
    cells = planted(200, 3, 8)
    codes = np.where(cells.groups_n == "donor03", 2, np.minimum(cells.codes_n, 1))
    task = task_of(replace(cells, codes_n=codes), designs=("grouped",))
    found = task.judge(task.predict(cells.view("pca", cells.vectors(1.0))))
    assert [c.name for c in found.checks] == ["unlearned-class"]
    assert "'type c'" in found.checks[0].sentence


def test_what_cannot_be_asked_is_said(planted) -> None:
    cells = planted(60)
    x = cells.vectors(1.0)
    one = replace(cells, codes_n=np.zeros(60, dtype=np.int64))
    with pytest.raises(DataError, match="'subtype' has one class, 'type a'"):
        task_of(one, label="subtype").draw()
    lonely = replace(cells, codes_n=np.r_[1, np.zeros(59, dtype=np.int64)])
    with pytest.raises(DataError, match="class 'type b' of the label 'subtype' has 1 cell"):
        task_of(lonely, label="subtype").draw()
    nothing = replace(cells, codes_n=np.full(60, -1))
    with pytest.raises(DataError, match="no labelled cell among 60"):
        task_of(nothing).draw()
    twice = replace(cells, names_n=np.r_[cells.names_n[:59], cells.names_n[:1]])
    with pytest.raises(DataError, match=str(cells.names_n[0])):
        task_of(twice).draw()
    with pytest.raises(SettingsError, match=r"'groupd'; did you mean 'grouped'"):
        task_of(cells, designs=("groupd",)).draw()
    with pytest.raises(SettingsError, match="'grouped' needs a grouping column"):
        task_of(cells, groups_n=None, designs=("grouped",)).draw()
    with pytest.raises(SettingsError, match="'given' needs the split"):
        task_of(cells, designs=("given",)).draw()
    with pytest.raises(SettingsError, match="'neuron' is not a class"):
        task_of(cells, positive="neuron").draw()
    x[7, 2] = np.nan
    with pytest.raises(DataError, match="vectors of my rep have NaN or infinite values in 1 of 60"):
        task_of(cells, designs=("grouped",)).predict(cells.view("my rep", x))
    with pytest.raises(DataError, match="my rep has vectors for 59 cells and the data have 60"):
        task_of(cells).predict(cells.view("my rep", x[:59]))
    other = CellView("my rep", lambda r: x, np.full(60, "clean"), pd.DataFrame(index=range(60)))
    with pytest.raises(DataError, match="the view of my rep"):
        task_of(cells).predict(other)
