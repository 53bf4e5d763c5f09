"""A pretrained run among the representations: what it has seen decides where it is asked."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import torch

from cellwright.errors import RunError
from cellwright.workflows.cluster import cluster
from cellwright.workflows.pretrain import pretrain
from cellwright.workflows.probe import probe
from cellwright.workflows.views import build_views


@pytest.fixture(scope="module")
def run(planted_once, tmp_path_factory):
    """A run of one epoch: what it learned does not matter here, what it has seen does."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "short"
    pretrain(planted_once, folder, epochs=1, size="tiny", val=0.2, test=0.3, split_by="library")
    return folder


def test_a_run_comes_with_its_random_start_and_says_what_it_has_seen(planted_once, run):
    views = build_views(planted_once, [str(run)])
    names = ["short", "untrained", "hvg", "pca", "depth", "batch", "depth+batch"]
    assert [v.name for v in views] == names
    assert views.asked == ("short",)
    assert not views["short"].baseline and views["untrained"].baseline
    seen = views["short"].seen_n == "seen-unlabelled"
    assert 0.5 < seen.mean() < 0.9
    np.testing.assert_array_equal(views.unseen_n, ~seen)
    rows = np.arange(200)
    trained, random = views["short"].vectors(rows), views["untrained"].vectors(rows)
    assert trained.shape == random.shape and not np.allclose(trained, random)
    assert trained is views["short"].vectors(rows[:100])


def test_the_headline_asks_about_cells_the_run_has_not_seen(planted_once, run):
    result = probe(planted_once, run, label="kind", shuffles=0)
    assert [d.name for d in result.exam.designs] == ["given", "grouped", "random"]
    (fold,) = result.exam.designs[0].folds
    unseen_n = result.views.unseen_n
    np.testing.assert_array_equal(fold.test, np.flatnonzero(unseen_n))
    marks = {s.split: s.seen for s in result.scores if s.rep == "short"}
    # Too few cells are unseen for folds among them, so all are used, and marked.
    assert marks == {
        "given": "clean", "grouped": "seen-unlabelled", "random": "seen-unlabelled"
    }  # fmt: skip
    assert any(s.startswith("Grouped folds are drawn over all cells") for s in result.sentences)
    assert any(c.name == "seen" and "grouped" in c.sentence for c in result.checks)


def test_folds_are_drawn_inside_unseen_cells_where_they_are_enough(planted_once, run):
    more = planted_once.copy()
    counts = more.X.toarray()
    rng = np.random.default_rng(5)
    more.X = counts + rng.poisson(0.5, counts.shape).astype(np.float32)
    more.obs_names = [f"new {name}" for name in more.obs_names]
    cells = ad.concat([planted_once, more])
    cells.obs["library"] = [*planted_once.obs["library"], *("N" + more.obs["library"])]
    result = probe(cells, run, label="kind", shuffles=0)
    grouped = next(d for d in result.exam.designs if d.name == "grouped")
    used = np.concatenate([np.r_[f.train, f.test] for f in grouped.folds])
    assert result.views.unseen_n[used].all()
    marks = {s.split: s.seen for s in result.scores if s.rep == "short"}
    assert marks["grouped"] == "clean"


def test_cells_no_run_has_seen_need_no_given_split(planted_once, run):
    new = planted_once.copy()
    new.X = new.X + (new.X > 0).astype(np.float32)
    result = probe(new, run, label="kind", shuffles=0)
    assert [d.name for d in result.exam.designs] == ["grouped", "random"]
    assert {s.seen for s in result.scores} == {"clean"}


def test_clusters_of_a_run_beside_its_random_start(planted_once, run):
    result = cluster(planted_once, run, label="kind")
    assert list(result.clusterings) == ["short", "untrained", "hvg", "pca", "depth"]


def test_a_folder_that_is_no_run_is_named(planted_once, tmp_path):
    with pytest.raises(RunError, match=str(tmp_path)):
        build_views(planted_once, [str(tmp_path)])
