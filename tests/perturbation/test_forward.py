"""Simple forward models against closed forms, brute force and a planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.forward import (
    FORWARD_METHODS,
    ForwardTraining,
    bilinear,
    fit_forward,
    gene_components,
    most_expressed,
)
from cellwright.perturbation.queries import control_means, draw_queries


@pytest.fixture(scope="module")
def training(planted):
    """All singles but T7, and all doubles but two, are trained on; targets' genes are columns 0-7."""
    screen, x = planted.screen, planted.expression_ng
    train = [c for c in screen.conditions if c not in ("T7", *screen.doubles[:2])]
    whole = draw_queries(x, screen, train, k=None)
    own_c = np.arange(8)
    own_c[3] = -1
    return ForwardTraining(screen, whole, control_means(x, screen)[""], own_c)


def test_the_bilinear_solution_by_brute_force():
    rng = np.random.default_rng(0)
    shift, gene, pert = rng.normal(size=(12, 7)), rng.normal(size=(12, 3)), rng.normal(size=(7, 2))
    found, centre = bilinear(shift, gene, pert, ridge=0.0)
    np.testing.assert_allclose(centre, shift.mean(axis=1))
    # Without a ridge: least squares over every entry of W at once.
    design = np.kron(gene, pert)
    flat, *_ = np.linalg.lstsq(design, (shift - centre[:, None]).ravel(), rcond=None)
    np.testing.assert_allclose(found, flat.reshape(3, 2), atol=1e-10)
    # With one: the published formula, term by term.
    found, _ = bilinear(shift, gene, pert, ridge=0.1)
    left = np.linalg.inv(gene.T @ gene + 0.1 * np.eye(3))
    right = np.linalg.inv(pert.T @ pert + 0.1 * np.eye(2))
    np.testing.assert_allclose(
        found, left @ gene.T @ (shift - centre[:, None]) @ pert @ right, atol=1e-12
    )


def test_components_are_those_of_genes_over_conditions():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(1).normal(size=(40, 9))
    found, other = gene_components(x, 4), PCA(4, svd_solver="full").fit_transform(x)
    np.testing.assert_allclose(np.abs(found), np.abs(other), atol=1e-10)
    assert gene_components(x, 30).shape == (40, 9)


def test_mean_and_sums_of_single_shifts(training):
    screen, whole = training.screen, training.whole
    target = np.zeros((2, 8), dtype=bool)
    target[0, [0, 1]], target[1, [0, 7]] = True, True
    alone = {
        screen.conditions[code]: whole.shift_qg[q].astype(float)
        for q, code in enumerate(whole.condition_q)
    }
    added = fit_forward("additive", training)
    np.testing.assert_allclose(added.predict(target)[0], alone["T0"] + alone["T1"], atol=1e-6)
    singles = np.mean([alone[f"T{i}"] for i in range(7)], axis=0)
    np.testing.assert_allclose(added.predict(target)[1], alone["T0"] + singles, atol=1e-6)
    assert added.known_c.tolist() == [True] * 7 + [False]
    mean = fit_forward("mean", training)
    np.testing.assert_allclose(mean.predict(target)[1], whole.shift_qg.mean(axis=0), atol=1e-6)
    assert not fit_forward("no-change", training).predict(target).any()


def test_planted_effects_are_predicted_best_by_what_adds_them(planted, training):
    """The truth adds up: sums beat the mean, and the effects of all conditions beat no change."""
    screen = planted.screen
    asked = [screen.index(c) for c in screen.doubles[:2]]
    truth = np.stack([planted.effect_cg[screen.targets_pc[code]].sum(axis=0) for code in asked])
    distance = {
        name: np.linalg.norm(fit_forward(name, training).predict(screen.targets_pc[asked]) - truth)
        for name in FORWARD_METHODS
    }
    assert distance["additive"] < distance["mean"] < distance["no-change"]
    assert distance["effects"] < distance["mean"]


def test_an_unmeasured_gene_is_the_mean_of_the_linear_model(training):
    linear = fit_forward("linear", training)
    target = np.zeros((2, 8), dtype=bool)
    target[0, 3] = target[1, 2] = True
    mean = training.whole.shift_qg.mean(axis=0)
    np.testing.assert_allclose(linear.predict(target)[0], mean, atol=1e-6)
    assert np.abs(linear.predict(target)[1] - mean).max() > 1e-3
    assert linear.known_c.tolist() == [i != 3 for i in range(8)]


def test_most_expressed_and_bad_names(training):
    assert most_expressed(np.array([1.0, 5, 3, 4]), 2).tolist() == [1, 3]
    kept = np.array([True, False, True, True])
    assert most_expressed(np.array([1.0, 5, 3, 4]), 2, kept).tolist() == [2, 3]
    with pytest.raises(DataError, match="no measured gene"):
        most_expressed(np.ones(2), 2, np.zeros(2, dtype=bool))
    with pytest.raises(SettingsError, match="is 0"):
        most_expressed(np.ones(2), 0)
    with pytest.raises(SettingsError, match="'aditive': did you mean 'additive'"):
        fit_forward("aditive", training)
