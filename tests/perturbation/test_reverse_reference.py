"""Cells of the same screen are not flagged; other controls, other shifts and noise are, by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.perturbation.queries import control_means, draw_queries
from cellwright.perturbation.reverse_audit import control_spread
from cellwright.perturbation.reverse_reference import (
    ScreenReference,
    correlation,
    screen_reference,
    unlikeness,
)


@pytest.fixture(scope="module")
def known(planted):
    screen = planted.screen
    # Genes have levels of their own, which make the controls of one line alike.
    x = planted.expression_ng + np.random.default_rng(8).normal(0, 1, 60)
    held = np.zeros(len(x), dtype=bool)
    for code in range(len(screen.conditions)):
        held[screen.rows_of(code)[::3]] = True
    trained = replace(screen, condition_n=np.where(held, -2, screen.condition_n))
    kept = held | (screen.condition_n == -1)
    asked = replace(screen, condition_n=np.where(kept, screen.condition_n, -2))
    controls = control_means(x, trained)
    whole = draw_queries(x, trained, screen.conditions, k=None, controls=controls)
    reference = screen_reference(
        x, trained, whole, control_spread(x, trained), [(asked, screen.conditions)],
        controls=controls,
    )  # fmt: skip
    return reference, x, asked


def test_cells_of_the_screen_are_like_it(known):
    reference, x, asked = known
    everything = np.ones(60, dtype=bool)
    controls = x[asked.control_rows]
    flags = []
    for code, name in enumerate(asked.conditions):
        found = unlikeness(reference, x[asked.rows_of(code)], controls, everything)
        flags.append(found.flagged)
        assert found.coverage == 1 and found.baseline > 0.99
        assert name == found.nearest or found.cosine > 0.7
    assert np.mean(flags) <= 0.15


def test_what_is_unlike_is_named(known):
    reference, x, asked = known
    rng = np.random.default_rng(0)
    everything = np.ones(60, dtype=bool)
    controls = x[asked.control_rows]
    case = x[asked.rows_of(2)]
    other = unlikeness(reference, case, rng.normal(4, 1, (40, 60)), everything)
    assert any("control cells are unlike" in r for r in other.reasons)
    away = controls[:30] + 3 * rng.normal(size=60)
    assert any("unlike any" in r for r in unlikeness(reference, away, controls, everything).reasons)
    same = unlikeness(reference, controls[::2], controls[1::2], everything)
    assert "mostly noise" in same.weak
    few = np.arange(60) < 20
    few_found = unlikeness(reference, case, controls, few)
    assert few_found.coverage == pytest.approx(1 / 3)
    assert any("Only 33 %" in r for r in few_found.reasons)
    with pytest.raises(DataError, match="3 of the 60 genes"):
        unlikeness(reference, case, controls, np.arange(60) < 3)


def test_fewer_cells_are_held_to_less(known):
    reference, *_ = known
    assert reference.expected("baseline", 1) < reference.expected("baseline", 25)
    assert reference.expected("nearest", 1) < reference.expected("nearest", 10**6)


def test_correlation_is_numpy_s_and_arrays_hold_it_all(known):
    reference, x, _ = known
    np.testing.assert_allclose(
        correlation(x[:5], reference.control_g),
        [np.corrcoef(row, reference.control_g)[0, 1] for row in x[:5]],
    )
    again = ScreenReference.from_arrays(reference.to_arrays())
    assert again.conditions == reference.conditions
    np.testing.assert_array_equal(again.nearest_s, reference.nearest_s)
