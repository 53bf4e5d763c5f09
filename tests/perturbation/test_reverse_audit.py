"""The shortcut audit: which columns are hidden, the rival without training, guides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.data.genes import gene_names
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.queries import Queries, draw_queries
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.reverse_audit import (
    control_spread,
    only_genes,
    own_columns,
    own_z,
    screen_kind,
    visibilities,
)


def named(names):
    return gene_names(pd.DataFrame(index=pd.Index(names)))


def screen_of(labels, **columns):
    frame = pd.DataFrame({"condition": labels, **columns})
    return read_screen(frame, guide="guide" if columns else None)


@pytest.fixture
def screen():
    return screen_of(["control"] * 4 + ["AAA"] * 3 + ["BBB"] * 3 + ["AAA+CCC"] * 3)


def test_every_candidates_column_is_hidden_from_all(screen):
    names = ["AAA", "CCC", *(f"GENE{i}" for i in range(60))]
    visible, hidden = visibilities(screen, named(names))
    assert visible.kept_g.all() and hidden.possible
    assert np.flatnonzero(~hidden.kept_g).tolist() == [0, 1]
    assert own_columns(screen.candidates, named(names)).tolist() == [0, -1, 1]
    near = np.arange(62) == 9
    _, wider = visibilities(screen, named(names), near_g=near)
    assert wider.hidden == 3 and "1 near one" in wider.sentence
    queries = draw_queries(np.ones((13, 62)), screen, ["AAA"], k=1)
    assert only_genes(queries, hidden.kept_g).shift_qg.shape == (3, 60)


def test_a_panel_of_targets_cannot_be_audited(screen):
    _, hidden = visibilities(screen, named(["AAA", "BBB", *(f"GENE{i}" for i in range(49))]))
    assert not hidden.possible
    assert "impossible on this panel" in hidden.sentence and "49 remain" in hidden.sentence
    _, nothing = visibilities(screen, named([f"GENE{i}" for i in range(60)]))
    assert (
        nothing.possible and nothing.hidden == 0 and "nothing had to be hidden" in nothing.sentence
    )


def test_z_is_the_shift_over_the_floored_spread():
    shift = np.array([[2.0, -1.0, 5.0, 1.0]], dtype=np.float32)
    queries = Queries(shift, shift, np.zeros(1, dtype=np.int64), (np.arange(1),), 1)
    sd = np.array([1.0, 0.01, 0.0, 2.0])
    own = np.array([0, 1, 2, 3, -1])
    up = own_z(queries, own, sd, "activation")[0]
    # The median of what varies is 1: the floor is a quarter.
    assert up[[0, 1, 3]].tolist() == [2.0, -4.0, 0.5]
    assert np.isneginf(up[[2, 4]]).all()
    down = own_z(queries, own, sd, "interference")[0]
    assert down[[0, 1, 3]].tolist() == [-2.0, 4.0, -0.5]
    with pytest.raises(SettingsError, match="'sideways'"):
        own_z(queries, own, sd, "sideways")


def test_spread_is_measured_within_batches():
    rng = np.random.default_rng(0)
    batch = np.repeat(["x", "y"], 200)
    x = rng.normal(0, 2, (400, 3)) + 50 * (batch == "y")[:, None]
    x[:, 2] = 7
    labels = ["control"] * 398 + ["AAA"] * 2
    screen = read_screen(pd.DataFrame({"condition": labels, "lane": batch}), batch="lane")
    found = control_spread(x, screen)
    assert found[:2] == pytest.approx([2, 2], rel=0.1) and found[2] == 0
    alone = pd.DataFrame({"condition": labels, "lane": [str(i) for i in range(400)]})
    with pytest.raises(DataError, match="no batch has two control cells"):
        control_spread(x, read_screen(alone, batch="lane"))


@pytest.mark.parametrize(("step", "kind"), [(3.0, "activation"), (-3.0, "interference")])
def test_the_kind_of_screen_is_what_training_targets_did(screen, step, kind):
    x = np.random.default_rng(0).normal(0, 0.5, (13, 60)) + 5
    x[4:7, 0] += step
    x[7:10, 1] += step
    names = named(["AAA", "BBB", *(f"GENE{i}" for i in range(58))])
    own = own_columns(screen.candidates, names)
    whole = draw_queries(x, screen, ["AAA", "BBB"], k=None)
    assert screen_kind(whole, screen, own, control_spread(x, screen)) == (kind, 2)
