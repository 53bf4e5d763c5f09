"""Groups as the cells that an encoder takes, against plain loops."""

import numpy as np
import pytest
import torch

from cellwright.models.build import EncoderSettings, build_encoder
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.models.reverse_encoder import BinGroups, GroupLevels, RankGroups, ReverseEncoder

GENES, KEPT = 12, (2, 3, 5, 8)


@pytest.fixture
def shift_qg() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(7, GENES)).astype(np.float32))


def _bounds(bounds: int) -> torch.Tensor:
    found = np.sort(np.random.default_rng(1).normal(size=(len(KEPT), bounds)), axis=1)
    return torch.from_numpy(found.astype(np.float32))


def _bins() -> BinGroups:
    encoder = build_encoder(EncoderSettings(size="tiny"), torch.zeros(9, 6), 0)
    groups = BinGroups(encoder, len(KEPT), "concat")
    groups.levels.set_bounds(torch.tensor(KEPT), _bounds(5))
    groups.row_m.copy_(torch.tensor([1, 0, 8, 4]))
    return groups.eval()


def _ranks(positions: int = 20, frame: tuple[int, ...] = ()) -> RankGroups:
    shape = RankShape(tokens=15, width=8, layers=1, heads=2, feedforward=16, positions=positions)
    encoder = random_rank_encoder(shape, 0, head=False)
    groups = RankGroups(encoder, len(KEPT), 3, "mean", (0, 1, 2, 3), frame)
    groups.levels.set_bounds(torch.tensor(KEPT), _bounds(3))
    groups.token_m.copy_(torch.tensor([7, 9, 4, 12]))
    values = np.random.default_rng(2).gamma(1.0, size=(len(KEPT), 4))
    values[0, :2] = 0.0
    groups.value_mb.copy_(torch.from_numpy(np.sort(values, axis=1)))
    return groups.eval()


def test_a_level_counts_the_bounds_below_a_shift(shift_qg: torch.Tensor) -> None:
    levels = GroupLevels(len(KEPT), 5)
    bound_mb = _bounds(5)
    bound_mb[0, 2:] = torch.inf
    bound_mb[1, 0] = -torch.inf
    levels.set_bounds(torch.tensor(KEPT), bound_mb)
    expected = [
        [int((shift_q[g] > bound_b).sum()) for g, bound_b in zip(KEPT, bound_mb, strict=True)]
        for shift_q in shift_qg
    ]
    assert levels.levels(shift_qg).tolist() == expected
    # A tie, and what differs from one by rounding, is below the bound.
    tie = torch.zeros(1, GENES)
    tie[0, KEPT[2]] = bound_mb[2, 3] + 1e-7
    assert levels.levels(tie)[0, 2] == 3


def test_only_the_genes_that_may_be_looked_at_reach_an_encoder(shift_qg: torch.Tensor) -> None:
    for groups in (_bins(), _ranks()):
        before = groups(shift_qg)
        other = shift_qg.clone()
        other[:, [g for g in range(GENES) if g not in KEPT]] = 99.0
        assert groups(other).equal(before)
        other[:, KEPT[3]] += 5.0
        assert not groups(other).equal(before)


def test_genes_that_are_not_measured_are_hidden_from_an_encoder_of_bins(
    shift_qg: torch.Tensor,
) -> None:
    groups = _bins()
    bins = torch.randint(0, 6, (len(shift_qg), 9))
    hidden = torch.ones_like(bins, dtype=torch.bool)
    hidden[:, groups.row_m] = False
    bins[:, groups.row_m] = groups.levels.levels(shift_qg)
    assert groups(shift_qg).equal(groups.encoder.pool(bins, hidden, "concat"))


def test_tokens_of_ranks_are_genes_by_falling_value_without_silent_ones(
    shift_qg: torch.Tensor,
) -> None:
    groups = _ranks(positions=5, frame=(2, 3))
    ids, lengths = groups.tokens(shift_qg)
    expected: list[int] = []
    for level_m in groups.levels.levels(shift_qg).tolist():
        value_m = [float(groups.value_mb[m, level]) for m, level in enumerate(level_m)]
        order = sorted((m for m in range(len(KEPT)) if value_m[m] > 0), key=lambda m: -value_m[m])
        # Three genes between the two special tokens.
        expected += [2, *(int(groups.token_m[m]) for m in order[:3]), 3]
    assert ids.tolist() == expected
    assert sum(lengths) == len(ids) and max(lengths) == 5


def test_before_it_learns_the_encoder_changes_nothing_of_a_linear_start(
    shift_qg: torch.Tensor,
) -> None:
    network = ReverseEncoder(_bins(), 8 * 64, GENES, 5, (6,), 4, 0.0).eval()
    network.standardise(shift_qg)
    vector_qv = network.vectors(shift_qg)
    np.testing.assert_allclose(vector_qv.detach().mean(0), 0, atol=1e-4)
    project_dg, code_cd = torch.randn(3, GENES), torch.randn(5, 3)
    network.start_at(project_dg, torch.zeros(3), code_cd)
    code_qd = shift_qg @ project_dg.T
    cosine = torch.nn.functional.normalize(code_qd, dim=1) @ code_cd.T
    scores = network(shift_qg, shift_qg)
    torch.testing.assert_close(scores.gene_qc, network.head.log_scale.exp() * cosine)
