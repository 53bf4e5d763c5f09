"""Evidence of a linear score is weight times shift; the state that is set back is that of controls."""

from __future__ import annotations

import numpy as np

from cellwright.perturbation.reverse_evidence import evidence


def test_a_linear_score_loses_weight_times_shift():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(40, 3))
    shift = rng.normal(size=40)
    shift[7] = 0
    genes, loss = evidence(
        lambda s, m: s.astype(float) @ weight, shift, np.ones(40), np.ones(40), np.array([2, 0])
    )
    assert 7 not in genes and len(genes) == 39
    np.testing.assert_allclose(loss[0], (weight[:, 2] * shift)[genes], atol=1e-5)
    np.testing.assert_allclose(loss[1], (weight[:, 0] * shift)[genes], atol=1e-5)


def test_expression_goes_back_to_controls_too_and_noisy_genes_come_last():
    asked = []

    def score(shift, mean):
        asked.append((shift, mean))
        return np.zeros((len(shift), 1))

    shift, mean, sd = (
        np.array([1.0, 1.0, 0.1]),
        np.array([3.0, 3.0, 3.0]),
        np.array([1.0, 9.0, 1.0]),
    )
    genes, _ = evidence(score, shift, mean, sd, np.array([0]), tested=2)
    # 1 / 1, 1 / 9 and 0.1 / 1: the second beats the third.
    assert genes.tolist() == [0, 1]
    tried_shift, tried_mean = asked[0]
    np.testing.assert_allclose(tried_shift, [[0, 1, 0.1], [1, 0, 0.1], [1, 1, 0.1]], atol=1e-6)
    np.testing.assert_allclose(tried_mean, [[2, 3, 3], [3, 2, 3], [3, 3, 3]])
