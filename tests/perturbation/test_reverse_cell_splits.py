"""Guides and contexts held out: the same genes on both sides, other cells, no cell on two sides."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.perturbation.queries import control_means, draw_queries
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.reverse_cell_splits import (
    contexts_held_out,
    guides_held_out,
    refuse_shared,
)
from cellwright.perturbation.reverse_dependence import relabelled


def screen_of(labels, **columns):
    frame = pd.DataFrame({"condition": labels, **columns})
    return read_screen(frame, **{name: name for name in columns})


def rows_of(screen, name):
    return screen.rows_of(screen.index(name)).tolist()


def test_one_guide_of_each_perturbation_is_held_out():
    labels = ["control"] * 4 + ["AAA"] * 6 + ["BBB"] * 2
    guides = ["c"] * 4 + ["g1"] * 3 + ["g2"] * 3 + ["g1"] * 2
    screen = screen_of(labels, guide=guides)
    divided, split = guides_held_out(screen, 0)
    # BBB has one guide and trains only, though that guide is called as the one that is held out.
    assert (split.train, split.val, split.test) == (("AAA", "BBB"), (), ("AAA · g1",))
    assert rows_of(divided, "AAA") == [7, 8, 9] and rows_of(divided, "AAA · g1") == [4, 5, 6]
    assert rows_of(divided, "BBB") == [10, 11] and len(divided.control_rows) == 4
    assert divided.genes_named(divided.index("AAA · g1")) == "AAA"
    assert guides_held_out(screen, 1)[1].test == ("AAA · g2",)
    with pytest.raises(DataError, match="two guides"):
        guides_held_out(screen_of(labels, guide=labels), 0)
    with pytest.raises(DataError, match="--guide"):
        guides_held_out(screen_of(labels), 0)


def test_a_quarter_of_the_perturbations_validates_by_the_guide_held_out():
    labels = ["control"] * 4 + np.repeat([f"T{i}" for i in range(8)], 4).tolist()
    guides = ["c"] * 4 + ["g1", "g1", "g2", "g2"] * 8
    divided, split = guides_held_out(screen_of(labels, guide=guides), 0)
    assert [len(getattr(split, part)) for part in ("train", "val", "test")] == [8, 2, 6]
    assert all(len(rows_of(divided, name)) == 2 for name in (*split.train, *split.val, *split.test))
    genes = [divided.genes_named(divided.index(n)) for n in (*split.val, *split.test)]
    assert sorted(genes) == list(split.train)
    other = guides_held_out(screen_of(labels, guide=guides), 1)[1]
    assert other.val != split.val


LABELS = [*["control"] * 4, *["AAA"] * 6, *["BBB"] * 4]
TYPES = [*"XXYY", *"XXXYYY", *"XXYY"]


def test_one_context_is_held_out_at_a_time():
    screen = screen_of(LABELS, context=TYPES)
    divided, split = contexts_held_out(screen, 0)
    assert (split.train, split.val) == (("AAA", "BBB"), ())
    assert split.test == ("AAA · X", "BBB · X")
    assert rows_of(divided, "AAA") == [7, 8, 9] and rows_of(divided, "AAA · X") == [4, 5, 6]
    assert len(divided.control_rows) == 4
    divided, split = contexts_held_out(screen, 1)
    assert rows_of(divided, "BBB") == [10, 11] and rows_of(divided, "BBB · Y") == [12, 13]


def test_a_third_context_validates_if_something_is_left_to_learn():
    labels = ["control"] * 3 + ["AAA"] * 3 + ["BBB"] * 3 + ["CCC"] * 2
    screen = screen_of(labels, context=[*"XYZ", *"XYZ", *"XYZ", *"XX"])
    divided, split = contexts_held_out(screen, 0)
    assert split.test == ("AAA · X", "BBB · X") and split.val == ("AAA · Y", "BBB · Y")
    # CCC is in the context that is held out only: no one can know it again, and it has no part.
    assert split.train == ("AAA", "BBB") and rows_of(divided, "CCC") == []
    # Z shares nothing with X: held out together with Y, X would not be known again.
    lone = [*labels[:3], "AAA", "AAA", "DDD", "DDD"]
    assert contexts_held_out(screen_of(lone, context=[*"XYZ", *"XYZZ"]), 0)[1].val == ()


def test_what_is_held_out_is_on_one_side_only():
    screen = screen_of(LABELS, context=TYPES)
    divided, split = contexts_held_out(screen, 0)
    refuse_shared(divided, split, divided.context_n)
    condition_n = divided.condition_n.copy()
    condition_n[4] = divided.index("AAA")
    with pytest.raises(DataError, match="cells of 'X' in train and in test"):
        refuse_shared(replace(divided, condition_n=condition_n), split, divided.context_n)


def test_labels_are_permuted_without_mixing_the_sides():
    divided, _ = contexts_held_out(screen_of(LABELS, context=TYPES), 0)
    for other in relabelled(divided):
        assert len(set(other.conditions)) == len(other.conditions)
        called = [other.conditions[other.condition_n[row]] for row in (7, 12, 4, 10)]
        assert sorted(called) == ["AAA", "AAA · X", "BBB", "BBB · X"]


def test_shifts_are_measured_from_controls_of_the_same_context():
    screen = screen_of(LABELS, context=TYPES, batch=["1", "2"] * 7)
    x = np.zeros((14, 3))
    x[[t == "Y" for t in TYPES]] += 5
    x[4:10, 0] += 1
    divided, split = contexts_held_out(screen, 1)
    found = draw_queries(x, divided, split.test[:1], k=None, controls=control_means(x, divided))
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
