"""Training groups of the reverse problem against means by hand, and what they may depend on."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from cellwright.errors import DataError
from cellwright.training.reverse_groups import (
    RIDGE,
    ReverseCells,
    draw_groups,
    examples_per_epoch,
    held_out_groups,
)


@pytest.fixture
def cells() -> ReverseCells:
    rng = np.random.default_rng(0)
    condition_n = np.repeat([-1, 0, 1, 2, 3], 30)
    x = rng.poisson(1.0, (150, 7)).astype(np.float32)
    batch_n = np.tile([0, 1], 75)
    control = condition_n == -1
    return ReverseCells(
        expression_ng=sp.csr_matrix(x),
        condition_n=condition_n,
        # A, B, A+B, and C alone, which validates.
        targets_pc=np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool),
        train_p=np.array([0, 1, 2]),
        val_p=np.array([3]),
        batch_n=batch_n,
        control_bg=np.stack([x[control & (batch_n == b)].mean(axis=0) for b in (0, 1)]),
        sd_g=x[control].std(axis=0),
    )


def test_a_group_of_all_cells_is_the_mean_less_matched_controls(cells: ReverseCells) -> None:
    found = draw_groups(cells, np.arange(3), k=30, groups=1, epoch=0, seed=0)
    x = cells.expression_ng.toarray()
    for q in range(3):
        rows = cells.condition_n == q
        np.testing.assert_allclose(found.mean_qg[q], x[rows].mean(axis=0), atol=1e-6)
        shift = x[rows].mean(axis=0) - cells.control_bg[cells.batch_n[rows]].mean(axis=0)
        np.testing.assert_allclose(found.shift_qg[q], shift, atol=1e-6)
    np.testing.assert_array_equal(found.target_qc, cells.targets_pc[:3])


def test_effects_are_those_of_a_ridge_regression(cells: ReverseCells) -> None:
    found = cells.effects
    fitted = Ridge(RIDGE).fit(cells.targets_pc[:3, :2].astype(float), cells.mean_pg[:3])
    np.testing.assert_array_equal(found.known_m, [0, 1])
    np.testing.assert_allclose(found.effect_mg, fitted.coef_.T, atol=1e-5)
    np.testing.assert_allclose(found.common_g, fitted.intercept_, atol=1e-5)
    assert not cells.mean_pg[3].any()


def test_pairs_that_do_not_add_up_hardly_move_the_effects() -> None:
    rng = np.random.default_rng(0)
    pairs = list(combinations(range(8), 2))
    sets = [(i,) for i in range(8)] + pairs
    targets_pc = np.array([[c in members for c in range(8)] for members in sets])
    effect_cg = rng.normal(0, 1, (8, 40))
    mean_pg = 3 + targets_pc @ effect_cg
    odd = rng.permutation(len(pairs))[:6] + 8
    mean_pg[odd] += rng.normal(0, 2, (6, 40))
    condition_n = np.repeat(np.arange(-1, len(sets)), 20)
    whole = np.vstack([np.full(40, 3.0), mean_pg])[condition_n + 1]
    cells = ReverseCells(
        expression_ng=sp.csr_matrix((whole + rng.normal(0, 0.3, whole.shape)).astype(np.float32)),
        condition_n=condition_n,
        targets_pc=targets_pc,
        train_p=np.arange(len(sets)),
        val_p=np.array([], dtype=np.int64),
        batch_n=np.zeros(len(condition_n), dtype=np.int64),
        control_bg=np.full((1, 40), 3.0, dtype=np.float32),
        sd_g=np.full(40, 0.3, dtype=np.float32),
    )
    plain = Ridge(RIDGE).fit(targets_pc.astype(float), cells.mean_pg).coef_.T
    error, plain_error = (np.abs(e - effect_cg).mean() for e in (cells.effects.effect_mg, plain))
    assert error < 0.5 * plain_error


def _noisy(n: int, effect: float = 1.0) -> ReverseCells:
    """One gene measured, A and B perturbed alone with the same effect, a spread of 1 between cells."""
    rng = np.random.default_rng(1)
    x = rng.normal(5 + effect, 1, (2 * n, 1))
    return ReverseCells(
        expression_ng=sp.csr_matrix(x.astype(np.float32)),
        condition_n=np.repeat([0, 1], n),
        targets_pc=np.eye(2, dtype=bool),
        train_p=np.array([0, 1]),
        val_p=np.array([], dtype=np.int64),
        batch_n=np.zeros(2 * n, dtype=np.int64),
        control_bg=np.full((1, 1), 5, dtype=np.float32),
        sd_g=np.ones(1, dtype=np.float32),
    )


def test_a_synthetic_double_is_the_sum_of_two_effects_with_the_noise_of_a_group() -> None:
    one = _noisy(4000)
    found = draw_groups(one, np.arange(1200), k=10, groups=300, epoch=0, seed=0)
    real, synthetic = found.shift_qg[:600, 0], found.shift_qg[600:, 0]
    assert found.target_qc[600:].all()
    known = one.effects
    assert synthetic.mean() == pytest.approx(
        float(known.common_g[0] + known.effect_mg.sum()), abs=0.05
    )
    assert real.std() == pytest.approx(1 / np.sqrt(10), rel=0.1)
    assert synthetic.std() == pytest.approx(1 / np.sqrt(10), rel=0.1)
    np.testing.assert_allclose(found.mean_qg - 5, found.shift_qg, atol=1e-5)


def test_what_is_not_known_of_effects_makes_noise_larger(cells: ReverseCells) -> None:
    drawn = draw_groups(cells, np.arange(3, 3003), k=10, groups=1, epoch=0, seed=0)
    x = cells.expression_ng.toarray() - cells.control_bg[cells.batch_n]
    inside_g = np.mean([x[cells.condition_n == p].var(axis=0) for p in range(3)], axis=0)
    doubt = cells.effects.doubt_mm
    assert 10 * doubt.sum() > 0.1
    np.testing.assert_allclose(
        drawn.shift_qg.var(axis=0), inside_g * (1 / 10 + doubt.sum()), rtol=0.15
    )
    # Two singles of 10 cells each: their difference is all that two effects are told by.
    shrunk = 1 / (1 + RIDGE)
    np.testing.assert_allclose(
        _noisy(10).effects.doubt_mm, shrunk**2 / 10 * np.array([[0.5, -0.5], [-0.5, 0.5]])
    )


def test_an_example_depends_on_seed_epoch_and_itself_alone(cells: ReverseCells) -> None:
    how = {"k": 5, "groups": 4}
    together = draw_groups(cells, np.arange(20), **how, epoch=2, seed=1)
    alone = draw_groups(cells, np.array([7]), **how, epoch=2, seed=1)
    np.testing.assert_allclose(together.shift_qg[7], alone.shift_qg[0], atol=1e-6)
    for other in ({"epoch": 3, "seed": 1}, {"epoch": 2, "seed": 2}):
        assert not np.allclose(
            draw_groups(cells, np.array([7]), **how, **other).shift_qg, alone.shift_qg
        )


def test_validation_cells_are_never_drawn(cells: ReverseCells) -> None:
    changed = cells.expression_ng.toarray()
    changed[cells.condition_n == 3] = 100
    other = replace(cells, expression_ng=sp.csr_matrix(changed))
    for epoch in range(3):
        a, b = (
            draw_groups(c, np.arange(24), k=5, groups=4, epoch=epoch, seed=0)
            for c in (cells, other)
        )
        np.testing.assert_array_equal(a.shift_qg, b.shift_qg)
    held = held_out_groups(cells, cells.val_p, k=10, most=2, seed=0)
    assert len(held) == 2
    assert held.target_qc.all(axis=0).tolist() == [False, False, True]


def test_the_share_of_sums(cells: ReverseCells) -> None:
    assert examples_per_epoch(cells, 10, 0.0) == 30
    assert examples_per_epoch(cells, 10, 0.5) == 60
    one_gene = replace(cells, train_p=np.array([0]))
    assert examples_per_epoch(one_gene, 10, 0.5) == 10


def test_a_condition_on_both_sides_is_refused(cells: ReverseCells) -> None:
    with pytest.raises(DataError, match="condition 2 is in training and in validation"):
        replace(cells, val_p=np.array([2]))
    with pytest.raises(DataError, match="condition 3 has no cell"):
        replace(cells, condition_n=np.where(cells.condition_n == 3, -2, cells.condition_n))
