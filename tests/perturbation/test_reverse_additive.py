"""The additive look-up: closed forms, and a screen in which sums are the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from cellwright.perturbation.queries import draw_queries
from cellwright.perturbation.reverse_additive import (
    GeneEffects,
    cosine_distances,
    gene_scores,
    linear_effects,
    single_effects,
    strength_distances,
)


@pytest.fixture
def effects():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=(4, 7))
    mean = effect.mean(axis=0)
    return GeneEffects(effect, np.array([0, 2, 3, 5]), mean, mean, 6)


def test_distances_are_those_of_the_sums_written_out(effects):
    query = np.random.default_rng(1).normal(size=(5, 7))
    found = cosine_distances(query, effects)
    assert found.shape == (5, 1 + 4 + 6)
    for s, members in enumerate(effects.sets_s2):
        total = effects.effect_mg[members[members >= 0]].sum(axis=0) - effects.mean_g
        for q in range(5):
            x = query[q] - effects.mean_g
            cosine = x @ total / np.linalg.norm(x) / np.linalg.norm(total)
            assert found[q, s] == pytest.approx(1 - cosine)


def test_free_strengths_are_those_of_bounded_least_squares(effects):
    query = 2 * np.random.default_rng(2).normal(size=(6, 7))
    found = strength_distances(query, effects)
    u = effects.mean_g / np.linalg.norm(effects.mean_g)
    flat = np.eye(7) - np.outer(u, u)
    for s, members in enumerate(effects.sets_s2):
        chosen = effects.effect_mg[members[members >= 0]] @ flat
        for q in range(6):
            x = flat @ query[q]
            left = x
            if len(chosen):
                fit = lsq_linear(chosen.T, x, bounds=(0, 1.5), tol=1e-12)
                left = x - chosen.T @ fit.x
            expected = np.linalg.norm(left) / np.linalg.norm(x)
            assert found[q, s] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("free", [False, True])
def test_sums_without_noise_are_found_at_any_strength(effects, free):
    strength = np.array([1.0, 1.0]) if not free else np.array([0.4, 1.3])
    query = (strength @ effects.effect_mg[[1, 3]])[None]
    score = gene_scores(query, effects, free_strength=free)[0]
    assert set(np.argsort(-score)[:2]) == {2, 5}
    assert np.isneginf(score[[1, 4]]).all() and np.isfinite(score[[0, 2, 3, 5]]).all()


def test_effects_of_a_screen(planted):
    train = [c for c in planted.screen.conditions if c != planted.screen.doubles[0]]
    whole = draw_queries(planted.expression_ng, planted.screen, train, k=None)
    single = single_effects(whole, planted.screen)
    assert single.known_m.tolist() == list(range(8))
    linear = linear_effects(whole, planted.screen)
    error = np.abs(linear.effect_mg + 0 - (planted.effect_cg)).mean()
    assert error < 0.25 and np.abs(single.effect_mg - planted.effect_cg).mean() < 0.25
    # A gene that is only ever perturbed with another is known to the linear model alone.
    without = [c for c in train if c != "T1"]
    whole = draw_queries(planted.expression_ng, planted.screen, without, k=None)
    assert 1 not in single_effects(whole, planted.screen).known_m
    assert 1 in linear_effects(whole, planted.screen).known_m


def test_ridge_is_the_textbook_one(planted):
    whole = draw_queries(planted.expression_ng, planted.screen, planted.screen.conditions, k=None)
    found = linear_effects(whole, planted.screen, ridge=0.5)
    from sklearn.linear_model import Ridge

    x = planted.screen.targets_pc[whole.condition_q].astype(float)
    reference = Ridge(alpha=0.5).fit(x, whole.shift_qg.astype(float))
    np.testing.assert_allclose(found.effect_mg, reference.coef_.T, atol=1e-8)
    np.testing.assert_allclose(found.mean_g, reference.intercept_, atol=1e-8)
