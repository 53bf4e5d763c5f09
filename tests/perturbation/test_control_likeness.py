"""Cells without a perturbation look like control cells as often as is said, others do not."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.perturbation.control_likeness import control_likeness

GENES, DIRECTIONS = 120, 4


@pytest.fixture(scope="module")
def learned():
    """Shifts of four perturbations."""
    return np.random.default_rng(8).normal(size=(DIRECTIONS, GENES))


def cells_of(rng, control, case, *, shift=0.0, batches=1):
    """Cells of unequal spread, in batches that differ by far more than any perturbation moves."""
    sd_g = np.linspace(0, 2, GENES)
    batch_n = rng.integers(batches, size=control + case)
    x = rng.normal(size=(control + case, GENES)) * sd_g + 5 * batch_n[:, None]
    is_case = np.arange(control + case) >= control
    x[is_case] += shift
    return x, is_case, ~is_case, batch_n.astype(str), sd_g


@pytest.mark.parametrize(("case", "batches"), [(1, 1), (20, 1), (20, 3)])
def test_of_groups_of_control_cells_five_in_a_hundred_are_taken_for_perturbed(
    learned, case, batches
):
    rng = np.random.default_rng(0)
    p = np.array(
        [
            control_likeness(*cells_of(rng, 80, case, batches=batches), learned, draws=99, seed=i).p
            for i in range(400)
        ]
    )
    # Within three standard errors of 5 %, and of a half below one half.
    assert abs((p <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)
    assert abs((p <= 0.5).mean() - 0.5) < 3 * np.sqrt(0.25 / 400)


def test_a_learned_shift_is_found_where_its_size_is_not(learned):
    """And one that is like none that was learned is found where it is large."""
    rng = np.random.default_rng(1)
    sd_g = np.linspace(0, 2, GENES)
    known = learned * np.divide(1, sd_g, out=np.zeros(GENES), where=sd_g > 0)
    strange = rng.normal(size=GENES)
    strange -= known.T @ np.linalg.lstsq(known.T, strange, rcond=None)[0]
    known, strange = known[0] / np.linalg.norm(known[0]), strange / np.linalg.norm(strange)
    share = {}
    for name, shift in (
        ("learned", 1.2 * known * sd_g),
        ("strange", 1.2 * strange * sd_g),
        ("strange, large", 3 * strange * sd_g),
    ):
        flags = [
            control_likeness(*cells_of(rng, 80, 20, shift=shift), learned, draws=99).flagged
            for _ in range(30)
        ]
        share[name] = 1 - np.mean(flags)
    assert share["learned"] > 0.9 and share["strange, large"] > 0.9
    assert share["strange"] < 0.6


def test_batches_without_controls_and_genes_that_do_not_vary(learned):
    rng = np.random.default_rng(2)
    x, case, control, _, sd_g = cells_of(rng, 40, 10)
    apart = np.where(case, "a", "b")
    found = control_likeness(x, case, control, apart, sd_g, learned)
    assert found.p is None and not found.flagged and "none of their batches" in found.sentence
    some = np.where(np.arange(50) % 2 == 0, "both", apart)
    assert control_likeness(x, case, control, some, sd_g, learned).cells == 5
    nothing = control_likeness(x, case, control, np.full(50, "a"), np.zeros(GENES), learned)
    assert nothing.p == 1.0 and "p 1;" in nothing.sentence
