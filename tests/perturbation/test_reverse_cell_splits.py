"""Guides and contexts held out: the same genes on both sides, other cells, no cell on two sides."""

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.perturbation.queries import control_means, draw_queries
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.reverse_cell_splits import contexts_held_out, guides_held_out


def screen_of(labels, **columns):
    frame = pd.DataFrame({"condition": labels, **columns})
    return read_screen(frame, **{name: name for name in columns})


def test_one_guide_of_each_perturbation_is_held_out():
    labels = ["control"] * 4 + ["AAA"] * 6 + ["BBB"] * 2
    guides = ["c"] * 4 + ["a1"] * 3 + ["a2"] * 3 + ["b1"] * 2
    screen = screen_of(labels, guide=guides)
    trained, asked = guides_held_out(screen, 0)
    assert trained.rows_of(0).tolist() == [7, 8, 9] and asked.rows_of(0).tolist() == [4, 5, 6]
    assert trained.rows_of(1).tolist() == [10, 11] and len(asked.rows_of(1)) == 0
    assert len(trained.control_rows) == len(asked.control_rows) == 4
    with pytest.raises(DataError, match="two guides"):
        guides_held_out(screen_of(labels, guide=labels), 0)
    with pytest.raises(DataError, match="--guide"):
        guides_held_out(screen_of(labels), 0)


LABELS = [*["control"] * 4, *["AAA"] * 6, *["BBB"] * 4]
TYPES = [*"XXYY", *"XXXYYY", *"XXYY"]


def test_one_context_is_held_out_at_a_time():
    screen = screen_of(LABELS, context=TYPES)
    trained, asked = contexts_held_out(screen, 0)
    assert trained.rows_of(0).tolist() == [7, 8, 9] and asked.rows_of(0).tolist() == [4, 5, 6]
    assert len(trained.control_rows) == len(asked.control_rows) == 4
    trained, asked = contexts_held_out(screen, 1)
    assert trained.rows_of(1).tolist() == [10, 11] and asked.rows_of(1).tolist() == [12, 13]
    for side in (trained, asked):
        assert set(side.context_n) == {"X", "Y"}


def test_shifts_are_measured_from_controls_of_the_same_context():
    screen = screen_of(LABELS, context=TYPES, batch=["1", "2"] * 7)
    x = np.zeros((14, 3))
    x[[t == "Y" for t in TYPES]] += 5
    x[4:10, 0] += 1
    _, asked = contexts_held_out(screen, 1)
    found = draw_queries(x, asked, ["AAA"], k=None, controls=control_means(x, asked))
    assert np.allclose(found.shift_qg, [[1, 0, 0]])


@pytest.mark.parametrize(
    ("labels", "types", "said"),
    [
        (LABELS, ["X"] * 14, "all perturbed cells are 'X'"),
        (LABELS, [*"XXXX", *"XXXYYY", *"XXYY"], "no control cells in the context 'Y'"),
        (LABELS, [*"XXYY", *"XXXXXX", *"YYYY"], "in the context 'X' is seen in another"),
    ],
)
def test_contexts_that_cannot_be_held_out(labels, types, said):
    with pytest.raises(DataError, match=said):
        contexts_held_out(screen_of(labels, context=types), 0)


def test_a_context_must_be_named():
    with pytest.raises(DataError, match="--context"):
        contexts_held_out(screen_of(LABELS), 0)
