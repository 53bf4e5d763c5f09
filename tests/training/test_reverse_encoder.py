"""What an encoder is set up from: levels of control groups, on planted controls."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellwright.errors import DataError
from cellwright.training.reverse_encoder import (
    CONTROL_GROUPS,
    LEVELS,
    EncoderShape,
    bin_shares,
    bounds,
    build_groups,
    control_groups,
    level_values,
)
from cellwright.training.reverse_groups import ReverseCells

N, G = 300, 6


@pytest.fixture(scope="module")
def cells() -> ReverseCells:
    """Two batches of controls, the second higher; one perturbation."""
    rng = np.random.default_rng(0)
    batch_n = np.arange(N) % 2
    x = rng.gamma(2.0, 1.0, (N, G)) * (rng.random((N, G)) < 0.7) + 3.0 * batch_n[:, None]
    condition_n = np.where(np.arange(N) < 200, -1, 0)
    controls = condition_n == -1
    control_bg = np.stack([x[controls & (batch_n == b)].mean(axis=0) for b in (0, 1)])
    return ReverseCells(
        expression_ng=sp.csr_matrix(x.astype(np.float32)),
        condition_n=condition_n,
        targets_pc=np.ones((1, 1), dtype=bool),
        train_p=np.array([0]),
        val_p=np.zeros(0, dtype=np.int64),
        batch_n=batch_n.astype(np.int64),
        control_bg=control_bg.astype(np.float32),
        sd_g=x[controls].std(axis=0).astype(np.float32),
    )


def test_control_groups_are_of_control_cells_and_measured_from_their_batch(cells) -> None:
    found = control_groups(cells, 10, 0)
    assert found.shape == (CONTROL_GROUPS, G)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.05)
    # Without batches the difference of 3 would add a spread of 1.5 / sqrt(10) to every gene.
    within = np.concatenate(
        [
            cells.expression_ng[:200].toarray()[cells.batch_n[:200] == b] - cells.control_bg[b]
            for b in (0, 1)
        ]
    )
    np.testing.assert_allclose(found.std(axis=0), within.std(axis=0) / 10**0.5, rtol=0.12)


def test_few_controls_are_drawn_again_and_none_is_an_error(cells) -> None:
    assert control_groups(cells, 250, 0).shape == (CONTROL_GROUPS, G)
    without = cells.condition_n.copy()
    without[without == -1] = -2
    bare = replace(cells, condition_n=without)
    with pytest.raises(DataError, match="no control cells"):
        control_groups(bare, 5, 0)


def test_bins_are_as_frequent_among_control_groups_as_in_pretraining() -> None:
    rng = np.random.default_rng(1)
    share_mk = rng.dirichlet(np.ones(5), G)
    share_mk[0, 1] = 0.0
    share_mk[0] /= share_mk[0].sum()
    log_mk = torch.from_numpy(np.log(np.maximum(share_mk, np.exp(-30))))
    shift_qm = rng.normal(size=(4000, G)).astype(np.float32)
    bound_mb = bounds(shift_qm, bin_shares(log_mk))
    level_qm = (shift_qm[:, :, None] > bound_mb[None]).sum(axis=2)
    for m in range(G):
        found = np.bincount(level_qm[:, m], minlength=5) / 4000
        np.testing.assert_allclose(found, share_mk[m], atol=1e-3)


def test_a_gene_that_never_varies_has_its_lowest_level() -> None:
    shift_qm = np.zeros((100, 1), dtype=np.float32)
    bound_mb = bounds(shift_qm, np.array([[0.3, 0.9]]))
    assert ((shift_qm[:, :, None] > bound_mb[None]).sum(axis=2) == 0).all()


def test_a_level_stands_for_the_quantile_of_control_cells(cells) -> None:
    columns, median = np.array([1, 4]), np.array([2.0, 0.5])
    found = level_values(cells, columns, median)
    x = cells.expression_ng[:200].toarray()[:, columns]
    at = (np.arange(LEVELS) + 0.5) / LEVELS
    expected = np.expm1(np.quantile(x, at, axis=0, method="inverted_cdf")).T / median[:, None]
    np.testing.assert_allclose(found, expected, rtol=0.2, atol=0.1)
    assert (np.diff(found, axis=1) >= 0).all()


def test_a_shape_builds_the_same_encoder_again() -> None:
    shape = EncoderShape(
        "bins", {"size": "tiny"}, "concat", genes=4, vector=512, vocabulary=7, bins=5
    )
    again = EncoderShape.from_dict(shape.to_dict())
    assert again == shape
    one, two = build_groups(shape, 3), build_groups(again, 3)
    for name, tensor in one.state_dict().items():
        assert tensor.equal(two.state_dict()[name]), name
