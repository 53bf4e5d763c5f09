"""Networks trained on a screen of planted effects that add up."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellwright.errors import DataError
from cellwright.perturbation.gene_knowledge import knowledge_of
from cellwright.perturbation.queries import draw_queries
from cellwright.perturbation.reverse import Screen, read_screen
from cellwright.training.reverse_objective import predict_logits
from cellwright.training.reverse_settings import NETWORKS, NetworkSettings
from cellwright.workflows.reverse_networks import (
    fit_network,
    network_cells,
    network_of,
    start_linear,
)

GENES = ("A", "B", "C", "D", "E")
TEST = ("A+B", "C+D")
QUICK = NetworkSettings(hidden=(16,), width=16, heads=2, epochs=3, groups=8, k=5, batch_size=32)


@pytest.fixture(scope="module")
def planted() -> tuple[sp.csr_matrix, Screen]:
    """Five genes and six of their doubles, of additive effects twice the noise of a group of five."""
    rng = np.random.default_rng(0)
    effect = {g: rng.normal(0, 0.6, 40) for g in GENES}
    doubles = ["A+B", "C+D", "A+C", "B+D", "D+E", "A+E"]
    names = ["control"] * 60 + [c for c in (*GENES, *doubles) for _ in range(30)]
    x = np.stack(
        [3 + sum((effect[g] for g in c.split("+") if g in effect), np.zeros(40)) for c in names]
    )
    x += rng.normal(0, 0.7, x.shape)
    screen = read_screen(pd.DataFrame({"condition": names}))
    return sp.csr_matrix(x.astype(np.float32)), screen


def _train(screen: Screen) -> tuple[str, ...]:
    return tuple(c for c in screen.conditions if c not in TEST)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_names_unseen_doubles(kind: str, planted: tuple[sp.csr_matrix, Screen]) -> None:
    x, screen = planted
    cells = network_cells(x, screen, _train(screen))
    knowledge = knowledge_of("plain", ["one"], np.ones((40, 1)), np.ones((5, 1)))
    fitted = fit_network(cells, replace(QUICK, kind=kind), knowledge)
    queries = draw_queries(x, screen, TEST, k=5)
    logits = fitted.logits(queries.shift_qg, queries.mean_qg)
    truth = screen.targets_pc[queries.condition_q]
    first = np.argsort(-logits, axis=1)[:, :2]
    assert np.take_along_axis(truth, first, axis=1).all(axis=1).mean() > 0.9
    assert fitted.best_epoch == len(fitted.history) == 3


def test_before_training_it_is_the_linear_model(planted: tuple[sp.csr_matrix, Screen]) -> None:
    x, screen = planted
    cells = network_cells(x, screen, _train(screen))
    device = torch.device("cpu")
    queries = draw_queries(x, screen, TEST, k=5)
    starts = []
    for kind in NETWORKS:
        network = network_of(cells, replace(QUICK, kind=kind))
        start_linear(network, cells, QUICK)
        starts.append(predict_logits(network, queries.shift_qg, queries.mean_qg, device))
    for other in starts[1:]:
        np.testing.assert_allclose(other, starts[0], atol=1e-3)
    truth = screen.targets_pc[queries.condition_q]
    assert (np.where(truth, starts[0], np.inf).min(axis=1) > 0).mean() > 0.9


def test_the_same_seed_gives_the_same_network(planted: tuple[sp.csr_matrix, Screen]) -> None:
    x, screen = planted
    cells = network_cells(x, screen, _train(screen))
    queries = draw_queries(x, screen, TEST, k=5)
    one, two = (
        fit_network(cells, QUICK).logits(queries.shift_qg, queries.mean_qg) for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


def test_cells_of_other_conditions_are_not_there(planted: tuple[sp.csr_matrix, Screen]) -> None:
    x, screen = planted
    changed = x.toarray()
    changed[np.isin(screen.condition_n, [screen.index(c) for c in TEST])] = 77.0
    one, two = (network_cells(m, screen, _train(screen)) for m in (x, sp.csr_matrix(changed)))
    assert one.expression_ng.max() < 77
    np.testing.assert_array_equal(one.expression_ng.toarray(), two.expression_ng.toarray())
    np.testing.assert_array_equal(one.control_bg, two.control_bg)


def test_validation_chooses_the_epoch_and_a_gene_never_perturbed_is_not_scored(
    planted: tuple[sp.csr_matrix, Screen],
) -> None:
    x, screen = planted
    train = tuple(c for c in _train(screen) if "E" not in c and c != "B+D")
    cells = network_cells(x, screen, train, ("B+D",))
    fitted = fit_network(cells, QUICK)
    losses = [row["val_loss"] for row in fitted.history]
    assert fitted.best_epoch == 1 + int(np.argmin(losses))
    queries = draw_queries(x, screen, TEST, k=5)
    logits = fitted.logits(queries.shift_qg, queries.mean_qg)
    assert np.isneginf(logits[:, screen.candidates.index("E")]).all()
    known = knowledge_of("plain", ["one"], np.ones((40, 1)), np.ones((5, 1)))
    asks = fit_network(cells, replace(QUICK, kind="cross-attention"), known)
    assert np.isfinite(asks.logits(queries.shift_qg, queries.mean_qg)).all()


def test_a_condition_that_trains_and_validates_is_refused(
    planted: tuple[sp.csr_matrix, Screen],
) -> None:
    x, screen = planted
    with pytest.raises(DataError, match="is in training and in validation"):
        network_cells(x, screen, _train(screen), ("A",))
