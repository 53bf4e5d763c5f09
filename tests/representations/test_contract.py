"""What every representation in the catalog promises, baselines and models alike."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from cellwright.catalog import REPRESENTATIONS
from cellwright.errors import RunError
from cellwright.interfaces import Representation

TOLERANCE = 1e-5


def build(name, seed=0):
    made = REPRESENTATIONS[name]
    return made(seed=seed) if "seed" in inspect.signature(made).parameters else made()


def learned(rep, path):
    """Everything the representation learned, as it is written to disk."""
    rep.save(path)
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(params=sorted(REPRESENTATIONS))
def name(request):
    return request.param


def test_is_named_after_its_entry_and_is_a_representation(name):
    rep = build(name)
    assert rep.name == name
    assert isinstance(rep, Representation)


def test_fit_returns_self_and_transform_gives_one_finite_row_per_cell(name, cells):
    rep = build(name)
    assert rep.fit(cells) is rep
    vectors = rep.transform(cells)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == cells.n_obs and vectors.ndim == 2
    assert np.isfinite(vectors).all()


def test_same_seed_same_vectors(name, cells):
    first = build(name, seed=3).fit(cells).transform(cells)
    second = build(name, seed=3).fit(cells).transform(cells)
    np.testing.assert_array_equal(first, second)


def test_cell_order_does_not_matter(name, cells):
    order = np.random.default_rng(1).permutation(cells.n_obs)
    straight = build(name).fit(cells).transform(cells)
    shuffled = build(name).fit(cells[order]).transform(cells[order])
    np.testing.assert_allclose(shuffled, straight[order], atol=TOLERANCE)


def test_a_cell_alone_gets_the_vector_it_gets_in_company(name, cells):
    rep = build(name).fit(cells)
    alone = rep.transform(cells[7:8])
    np.testing.assert_allclose(alone, rep.transform(cells)[7:8], atol=TOLERANCE)


def test_save_load_same_vectors(name, cells, tmp_path):
    rep = build(name).fit(cells[:80])
    rep.save(tmp_path / "rep.npz")
    again = REPRESENTATIONS[name].load(tmp_path / "rep.npz")
    np.testing.assert_array_equal(again.transform(cells), rep.transform(cells))


def test_test_cells_never_influence_fit(name, cells, tmp_path):
    train = np.arange(80)
    changed = cells.copy()
    counts = changed.X.toarray()
    counts[80:] = counts[80:] * 7 + 3
    changed.X = counts
    changed.obs.iloc[80:, 0] = "elsewhere"
    before = learned(build(name).fit(cells[train]), tmp_path / "before.npz")
    after = learned(build(name).fit(changed[train]), tmp_path / "after.npz")
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])


def test_cells_are_left_as_they_were(name, cells):
    before = cells.copy()
    build(name).fit(cells).transform(cells)
    np.testing.assert_array_equal(cells.X.toarray(), before.X.toarray())
    assert cells.obs.equals(before.obs)
    assert not cells.uns and not cells.obsm


def test_tiny_data(name, cells):
    tiny = cells[:50, :30].copy()
    assert build(name).fit(tiny).transform(tiny).shape[0] == 50


def test_a_file_of_another_kind_is_refused(name, tmp_path):
    np.savez(tmp_path / "other.npz", representation=np.asarray("somebody-else"))
    with pytest.raises(RunError, match="somebody-else"):
        REPRESENTATIONS[name].load(tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(b"not a zip")
    with pytest.raises(RunError, match=r"broken\.npz"):
        REPRESENTATIONS[name].load(tmp_path / "broken.npz")
    with pytest.raises(RunError, match=r"nowhere\.npz"):
        REPRESENTATIONS[name].load(tmp_path / "nowhere.npz")
