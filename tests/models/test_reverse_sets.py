"""Scores of sets against sums over all sets by hand."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from cellwright.models.reverse_sets import (
    SHARPNESS,
    SHORTEST,
    SetHead,
    SetScores,
    gene_loss,
    set_loss,
    set_marginals,
    set_table,
)

SEEN = torch.tensor([True, True, False, True, True])


@pytest.fixture
def scores() -> SetScores:
    torch.manual_seed(0)
    length = 0.5 + torch.rand(5, 5)
    return SetScores(torch.randn(3, 5), length + length.T, torch.tensor([0.3, -0.2]))


def _by_hand(scores: SetScores, q: int) -> dict[tuple[int, ...], float]:
    seen = [0, 1, 3, 4]
    gene, length = scores.gene_qc[q].numpy(), scores.length_cc.numpy()
    one = {(a,): gene[a] / length[a, a] + 0.3 for a in seen}
    two = {(a, b): (gene[a] + gene[b]) / length[a, b] - 0.2 for a, b in combinations(seen, 2)}
    return one | two


def test_the_loss_is_cross_entropy_over_all_sets(scores: SetScores) -> None:
    sets = [(0, 3), (4,), (1, 4)]
    target = torch.zeros(3, 5, dtype=torch.bool)
    for q, genes in enumerate(sets):
        target[q, list(genes)] = True
    found = set_loss(scores, target, SEEN)
    for q, genes in enumerate(sets):
        table = _by_hand(scores, q)
        expected = logsumexp(list(table.values())) - table[genes]
        assert found[q].item() == pytest.approx(expected, abs=1e-5)


def test_marginals_are_the_odds_summed_over_sets(scores: SetScores) -> None:
    found = set_marginals(scores, SEEN).numpy()
    assert np.isneginf(found[:, 2]).all()
    for q in range(3):
        table = _by_hand(scores, q)
        for gene in (0, 1, 3, 4):
            inside = logsumexp([v for s, v in table.items() if gene in s])
            outside = logsumexp([v for s, v in table.items() if gene not in s])
            assert found[q, gene] == pytest.approx(inside - outside, abs=1e-6)


def test_the_head_scores_sets_by_the_cosine_with_the_sum_of_codes() -> None:
    torch.manual_seed(1)
    head = SetHead(4, 6)
    code = torch.randn(2, 6)
    table = set_table(head(code), torch.ones(4, dtype=torch.bool))
    short = SHORTEST * (head.code_cd**2).sum(dim=1).mean()
    for q in range(2):
        for a in range(4):
            for b in range(4):
                whole = head.code_cd[a] + (head.code_cd[b] if a != b else 0)
                length = (whole @ whole + short).sqrt()
                cosine = code[q] @ whole / code[q].norm() / length
                assert table[q, a, b].item() == pytest.approx(SHARPNESS * cosine.item(), abs=1e-4)


def test_losses_of_genes_one_by_one() -> None:
    logit = torch.tensor([[2.0, -1.0, 0.5]])
    target = torch.tensor([[True, False, True]])
    p = torch.softmax(logit, 1)[0]
    assert gene_loss("softmax", logit, target).item() == pytest.approx(
        -0.5 * (p[0].log() + p[2].log()).item()
    )
    entropy = -torch.where(target, torch.sigmoid(logit), 1 - torch.sigmoid(logit)).log()[0]
    weight = torch.tensor([0.5, 1.0, 0.5])
    assert gene_loss("bce", logit, target).item() == pytest.approx((weight * entropy).mean().item())
    focal = (entropy * (1 - torch.exp(-entropy)) ** 2).sum().item()
    assert gene_loss("focal", logit, target).item() == pytest.approx(focal)
