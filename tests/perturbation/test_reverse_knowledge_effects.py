"""Effects lent between genes that are alike: nothing without knowledge, the truth with it."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.perturbation.gene_knowledge import joined_knowledge, knowledge_of
from cellwright.perturbation.queries import draw_queries
from cellwright.perturbation.reverse_additive import gene_scores, linear_effects
from cellwright.perturbation.reverse_knowledge_effects import (
    WEIGHTS,
    knowledge_effects,
    likeness,
)


@pytest.fixture
def whole(planted):
    """All training conditions that do not perturb T7."""
    train = [c for c in planted.screen.conditions if "T7" not in c]
    return draw_queries(planted.expression_ng, planted.screen, train, k=None)


def test_without_knowledge_it_is_the_ridge_regression(planted, whole):
    found = knowledge_effects(whole, planted.screen, None)
    ridge = linear_effects(whole, planted.screen)
    assert found.weight == 0
    np.testing.assert_array_equal(found.effects.known_m, ridge.known_m)
    np.testing.assert_allclose(found.effects.effect_mg, ridge.effect_mg, atol=1e-9)
    np.testing.assert_allclose(found.effects.mean_g, ridge.mean_g, atol=1e-9)


def test_a_gene_never_perturbed_is_found_by_what_it_resembles(planted, whole):
    """Knowledge: a noisy picture of the true effects. T7 is ranked first though never seen."""
    rng = np.random.default_rng(0)
    true = planted.effect_cg - planted.effect_cg.mean(axis=0)
    table = np.vstack([true + rng.normal(0, 0.2, true.shape)] * 1)
    informed = knowledge_of("table", [str(i) for i in range(60)], np.zeros((60, 60)), table)
    asked = draw_queries(planted.expression_ng, planted.screen, ["T7"], k=8, seed=1)
    lent = knowledge_effects(whole, planted.screen, informed)
    score = gene_scores(asked.shift_qg, lent.effects)
    none = gene_scores(asked.shift_qg, knowledge_effects(whole, planted.screen, None).effects)
    assert np.isneginf(none[:, 7]).all() and np.isfinite(score[:, 7]).all()
    assert 7 in lent.effects.known_m


def test_the_weight_follows_what_knowledge_is_worth(planted, whole):
    """True likeness is trusted more than likeness drawn at random."""
    rng = np.random.default_rng(1)
    # Two kinds of genes whose effects are nearly one another's.
    kind = np.arange(8) % 2
    base = rng.normal(size=(2, 60))
    shift = {}
    screen = planted.screen
    targets = screen.targets_pc[whole.condition_q]
    effect = base[kind] + rng.normal(0, 0.3, (8, 60))
    made = targets @ effect + rng.normal(0, 0.1, (len(targets), 60))
    like = whole.__class__(
        whole.mean_qg, made.astype(np.float32), whole.condition_q, whole.rows_q, None
    )
    for name, groups in (("true", kind), ("random", np.array([0, 0, 1, 1, 0, 0, 1, 1]))):
        table = knowledge_of("x", ["a", "b"], np.zeros((60, 2)), np.eye(2)[groups])
        shift[name] = knowledge_effects(like, screen, table)
    assert shift["true"].weight > shift["random"].weight == min(WEIGHTS)
    at = {c: i for i, c in enumerate(shift["true"].effects.known_m.tolist())}
    lent = shift["true"].effects.effect_mg[at[7]]
    assert np.corrcoef(lent, base[1] - base[0])[0, 1] > 0.9


def test_likeness_is_a_mean_of_cosines():
    one = knowledge_of("a", ["x"], np.zeros((1, 1)), np.array([[1.0], [3.0], [0.0]]),
                       None, np.array([True, True, False]))  # fmt: skip
    other = knowledge_of("b", ["x", "y"], np.zeros((1, 2)), np.array([[1.0, 0], [0, 1], [0, 1]]))
    found = likeness(joined_knowledge([one, other]))
    np.testing.assert_allclose(found, found.T)
    assert np.linalg.eigvalsh(found).min() > -1e-12
    assert found[2, 2] == pytest.approx(0.5) and found[0, 0] == pytest.approx(1)
    assert found[0, 2] < 0 < found[1, 2]
