from __future__ import annotations

import numpy as np
import pytest

from cellwright.catalog import REPRESENTATIONS
from cellwright.errors import DataError, SettingsError
from cellwright.representations.technical import DepthAndBatch
from cellwright.workflows.subject import read_subject
from cellwright.workflows.views import build_views

FEW = np.arange(0, 150)
OTHER = np.arange(30, 180)


def test_what_was_asked_comes_first_and_the_simple_methods_beside(planted):
    planted.obsm["X_mine"] = np.ones((200, 3))
    views = build_views(planted, ["obsm:X_mine"])
    assert [v.name for v in views] == ["obsm:X_mine", "hvg", "pca", "depth", "batch", "depth+batch"]
    assert views.asked == ("obsm:X_mine",)
    assert [v.baseline for v in views] == [False] + [True] * 5
    assert views.unseen_n is None


def test_seen_is_clean_for_what_is_refitted_and_unknown_for_what_is_given(planted, tmp_path):
    planted.obsm["X_mine"] = np.ones((200, 3))
    np.save(tmp_path / "v.npy", np.ones((200, 2)))
    views = build_views(planted, ["obsm:X_mine", f"file:{tmp_path / 'v.npy'}"])
    for view in views:
        expected = "clean" if view.name in REPRESENTATIONS else "unknown"
        assert set(view.seen_n) == {expected}


@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
def test_a_view_equals_the_representation_fitted_on_the_same_cells(planted, name):
    view = build_views(planted, [name])[name]
    expected = REPRESENTATIONS[name]().fit(planted[FEW]).transform(planted)
    np.testing.assert_allclose(view.vectors(FEW), expected, atol=1e-4)
    # Another fold and back: what is kept between folds must not leak from one into the other.
    other = REPRESENTATIONS[name]().fit(planted[OTHER]).transform(planted)
    np.testing.assert_allclose(view.vectors(OTHER), other, atol=1e-4)
    np.testing.assert_allclose(view.vectors(FEW), expected, atol=1e-4)


def test_held_out_cells_change_no_vector_of_the_others(planted):
    changed = planted.copy()
    counts = changed.X.toarray()
    counts[150:] = counts[150:] * 9 + 1
    changed.X = counts
    for name in REPRESENTATIONS:
        before = build_views(planted, [name])[name].vectors(FEW)[:150]
        after = build_views(changed, [name])[name].vectors(FEW)[:150]
        np.testing.assert_array_equal(before, after)


def test_a_simple_method_asked_for_alone_is_judged_and_beside_others_a_rival(planted):
    planted.obsm["X_mine"] = np.ones((200, 3))
    assert not build_views(planted, ["hvg"])["hvg"].baseline
    assert build_views(planted, ["hvg"])["pca"].baseline
    assert build_views(planted, ["hvg", "obsm:X_mine"])["hvg"].baseline


def test_names_given_twice_count_once(planted):
    assert [v.name for v in build_views(planted, ["pca", "pca"], beside=())] == ["pca"]


@pytest.mark.parametrize(
    ("rep", "said"),
    [
        ("hvgs", "no representation 'hvgs'.*did you mean 'hvg'"),
        ("runs/nowhere", "no run folder of that name: known: .*obsm:X_mine"),
        ("vectors.npy", "file:vectors.npy"),
        ("untrained", "needs a run folder beside it"),
    ],
)
def test_unknown_names(planted, rep, said):
    planted.obsm["X_mine"] = np.ones((200, 3))
    with pytest.raises(SettingsError, match=said):
        build_views(planted, [rep])


def test_vectors_of_other_cells(planted, tmp_path):
    np.save(tmp_path / "v.npy", np.ones((150, 2)))
    with pytest.raises(DataError, match="150 rows for 200 cells"):
        build_views(planted, [f"file:{tmp_path / 'v.npy'}"])
    with pytest.raises(DataError, match="no 'X_mine' in obsm"):
        build_views(planted, ["obsm:X_mine"])


def test_without_a_column_the_batch_baselines_are_left_out_and_it_is_said(planted):
    del planted.obs["library"]
    views = build_views(planted, ["hvg"])
    assert [v.name for v in views] == ["hvg", "pca", "depth"]
    assert "No column of obs names a donor" in views.notes[0]
    with pytest.raises(DataError, match=r"'batch' needs a column.*columns: kind, noise"):
        build_views(planted, ["batch"])
    planted.obs["plate"] = np.where(np.arange(200) < 100, "P1", "P2")
    assert build_views(planted, ["batch"], batch="plate")["batch"].vectors(FEW).shape == (200, 2)


def test_a_library_size_in_obs_is_named_and_used_when_asked(planted):
    planted.obs["libsize"] = np.asarray(planted.X.sum(axis=1)).ravel() * 3
    views = build_views(planted, ["depth"])
    assert any("'libsize'" in note for note in views.notes)
    asked = build_views(planted, ["depth"], size="libsize")
    np.testing.assert_allclose(
        asked["depth"].vectors(FEW)[:, 0], np.log1p(planted.obs["libsize"]), rtol=1e-6
    )
    assert not asked.notes
    both = DepthAndBatch(size_column="libsize").fit(planted[FEW]).transform(planted)
    np.testing.assert_allclose(asked["depth+batch"].vectors(FEW), both, rtol=1e-6)


def test_counts_may_be_in_a_layer_or_be_estimates(planted):
    estimated = planted.copy()
    estimated.layers["soup"] = estimated.X * 0.5
    subject = read_subject(estimated, layer="soup", assume_counts=True)
    views = build_views(subject, ["depth"])
    size = np.asarray(planted.X.sum(axis=1)).ravel() / 2
    np.testing.assert_allclose(views["depth"].vectors(FEW)[:, 0], np.log1p(size), rtol=1e-6)


def test_cells_stay_as_they_were_and_names_must_be_unique(planted):
    before = planted.copy()
    for view in build_views(planted, ["pca"]):
        view.vectors(FEW)
    np.testing.assert_array_equal(planted.X.toarray(), before.X.toarray())
    assert planted.obs.equals(before.obs) and not planted.layers and not planted.uns
    planted.obs_names = ["same"] * 2 + list(planted.obs_names[2:])
    with pytest.raises(DataError, match="'same' stands 2 times"):
        read_subject(planted)
