"""Agreement measures against scikit-learn, on the data and on written-out resamples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from cellwright.evaluation.contingency import ari, contingency, information


@pytest.mark.parametrize("agree", [0.0, 0.7, 1.0])
def test_measures_equal_scikit_learn(agree: float) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(4, size=200)
    cluster = np.where(rng.random(200) < agree, label, rng.integers(6, size=200))
    table = contingency(label, cluster, 4, 6)
    assert np.array_equal(
        table[:, np.unique(cluster)], sk.cluster.contingency_matrix(label, cluster)
    )
    found = information(table)
    assert ari(table) == pytest.approx(sk.adjusted_rand_score(label, cluster), abs=1e-12)
    assert found["nmi"] == pytest.approx(sk.normalized_mutual_info_score(label, cluster))
    assert found["homogeneity"] == pytest.approx(sk.homogeneity_score(label, cluster))
    assert found["completeness"] == pytest.approx(sk.completeness_score(label, cluster))


@pytest.mark.parametrize(
    ("label", "cluster"),
    [([0, 0, 0], [0, 0, 0]), ([0, 0, 0], [0, 1, 2]), ([0, 1, 2], [0, 0, 0]), ([0, 1], [0, 1])],
)
def test_degenerate_partitions_equal_scikit_learn(label: list[int], cluster: list[int]) -> None:
    table = contingency(np.array(label), np.array(cluster), 3, 3)
    found = information(table)
    assert float(ari(table)) == pytest.approx(sk.adjusted_rand_score(label, cluster))
    assert float(found["homogeneity"]) == pytest.approx(sk.homogeneity_score(label, cluster))
    assert float(found["completeness"]) == pytest.approx(sk.completeness_score(label, cluster))


def test_perfect_agreement_is_exactly_one() -> None:
    label = np.random.default_rng(0).integers(7, size=333)
    found = information(contingency(label, (label + 3) % 7, 7, 7))
    assert {float(v) for v in found.values()} == {1.0}


def test_copies_of_a_cell_are_no_agreement() -> None:
    """Random clusters: resamples average 0 as the data do, where plain ARI is lifted."""
    rng = np.random.default_rng(1)
    label, cluster = rng.integers(3, size=60), rng.integers(20, size=60)
    cell = label * 20 + cluster
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=800).astype(float)
    onehot = np.eye(60)[cell]
    table = (weights @ onehot).reshape(-1, 3, 20)
    squares = (weights**2 @ onehot).reshape(-1, 3, 20)
    value = float(ari(contingency(label, cluster, 3, 20)))
    assert ari(table, squares).mean() == pytest.approx(value, abs=0.01)
    assert ari(table).mean() > value + 0.01
