"""Scores of sets against sums over all sets by hand."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from cellwright.models.reverse_sets import (
    HIDDEN,
    HIDES,
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
    share = torch.tensor([0.7, 0.15]).log()
    size = torch.tensor([0.3, -0.2])
    return SetScores(torch.randn(3, 5), length + length.T, 0.5 + torch.rand(5, 5), size, share)


def _by_hand(scores: SetScores, q: int) -> dict[tuple[int, ...], float]:
    seen = [0, 1, 3, 4]
    gene, length = scores.gene_qc[q].numpy(), scores.length_cc.numpy()
    one = {(a,): gene[a] / length[a, a] + 0.3 for a in seen}
    partly, (adds, hides) = scores.partly_cc.numpy(), scores.share_2.exp().tolist()

    def pair(a: int, b: int) -> float:
        """A pair that adds up, or of which one gene hides part of the other."""
        kinds = [
            (adds, (gene[a] + gene[b]) / length[a, b]),
            (hides, (gene[a] + HIDDEN * gene[b]) / partly[a, b]),
            (hides, (gene[b] + HIDDEN * gene[a]) / partly[b, a]),
        ]
        return float(np.log(sum(share * np.exp(score) for share, score in kinds)) - 0.2)

    return one | {(a, b): pair(a, b) for a, b in combinations(seen, 2)}


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
                kinds = [(1.0, head.code_cd[a])]
                if a != b:
                    one, other = head.code_cd[a], head.code_cd[b]
                    kinds = [
                        (1 - 2 * HIDES, one + other),
                        (HIDES, one + HIDDEN * other),
                        (HIDES, HIDDEN * one + other),
                    ]
                wanted = 0.0
                for share, whole in kinds:
                    cosine = code[q] @ whole / code[q].norm() / (whole @ whole + short).sqrt()
                    wanted += share * np.exp(SHARPNESS * cosine.item())
                assert table[q, a, b].item() == pytest.approx(np.log(wanted), abs=1e-4)


def test_odds_of_a_gene_beyond_doubt_are_not_cut_off(scores: SetScores) -> None:
    # Probabilities this near to 1 are 1 in floating point; what speaks against them still counts.
    sure = scores._replace(gene_qc=scores.gene_qc.double() + torch.tensor([0, 900.0, 0, 0, 0]))
    found = set_marginals(sure, SEEN).numpy()
    for q in range(3):
        gene, length = sure.gene_qc[q].numpy(), sure.length_cc.double().numpy()
        assert found[q, 1] > 60
        without = [gene[a] / length[a, a] + 0.3 for a in (0, 3, 4)]
        assert found[q, 1] > gene[1] / length[1, 1] - max(without) - 60
        assert np.isfinite(found[q, [0, 1, 3, 4]]).all()
    weaker = set_marginals(sure._replace(gene_qc=sure.gene_qc * 0.9), SEEN).numpy()
    assert (weaker[:, 1] < found[:, 1]).all()


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
