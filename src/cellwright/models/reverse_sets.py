"""Scores of sets of one and two genes, and what they say about each gene."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of the softmax over sets at first: a cosine lies between -1 and 1.
SHARPNESS = 20.0
# Added to squared lengths of sums of codes, as a share of the mean squared length of a code.
SHORTEST = 0.02
# Of a pair in which one gene hides part of what the other does: what is left of that, and how often each of
# the two is the one, at first.
HIDDEN, HIDES = 0.4, 0.2

# Log of the probability from which on odds are summed from the sets without the gene.
_SURE = -1e-6


class SetScores(NamedTuple):
    """Score of a set: the sum over its genes over the length of the set, plus that of its size.

    gene_qc: of each gene; length_cc: of pairs, and of single genes on the diagonal, one for all
    queries; partly_cc: of pairs of which the second gene is partly hidden by the first; size_2: of
    sets of one and of two genes; share_2: log shares of pairs that add up and, in each of the two
    orders, of those that do not.
    """

    gene_qc: Tensor
    length_cc: Tensor
    partly_cc: Tensor
    size_2: Tensor
    share_2: Tensor


class SetHead(nn.Module):
    """A query's code held against the sums of genes' codes, by their cosine.

    Effects that add up need no parameter for pairs, and the cosine leaves open how strongly the
    guides of a query act. One gene of a pair may hide part of what the other does: which, is left open.

    Parameters
    ----------
    candidates
        Genes that may be the answer.
    width
        Length of a code.
    """

    def __init__(self, candidates: int, width: int) -> None:
        super().__init__()
        self.code_cd = nn.Parameter(torch.randn(candidates, width) / width**0.5)
        self.log_scale = nn.Parameter(torch.tensor(SHARPNESS).log())
        self.size_2 = nn.Parameter(torch.zeros(2))
        self.hides = nn.Parameter(torch.tensor(2 * HIDES).logit())

    def forward(self, code_qd: Tensor) -> SetScores:
        """Codes of queries to scores."""
        return self.scores(code_qd, self.code_cd)

    def scores(self, code_qd: Tensor, code_cd: Tensor) -> SetScores:
        """The same with other codes of the genes."""
        unit_qd = functional.normalize(code_qd, dim=1)
        gram_cc = code_cd @ code_cd.T
        square_c = torch.diagonal(gram_cc)
        square_cc = square_c[:, None] + square_c[None, :] + 2 * gram_cc
        alone_cc = torch.eye(len(square_c), device=square_c.device, dtype=torch.bool)
        square_cc = torch.where(alone_cc, square_c, square_cc)
        # Two genes that undo each other, or one that does nothing, have no direction.
        shortest = SHORTEST * square_c.mean()
        length_cc = (square_cc + shortest).sqrt()
        partly_cc = square_c[:, None] + HIDDEN**2 * square_c[None, :] + 2 * HIDDEN * gram_cc
        partly_cc = (partly_cc.clamp(min=0) + shortest).sqrt()
        log_hides = functional.logsigmoid(self.hides) - math.log(2)
        share_2 = torch.stack([functional.logsigmoid(-self.hides), log_hides])
        gene_qc = self.log_scale.exp() * unit_qd @ code_cd.T
        return SetScores(gene_qc, length_cc, partly_cc, self.size_2, share_2)


def set_table(scores: SetScores, seen_c: Tensor) -> Tensor:
    """Score of every set of seen genes, (q, m, m): single genes on the diagonal, pairs beside it."""
    gene_qm = scores.gene_qc[:, seen_c]
    length_mm = scores.length_cc[seen_c][:, seen_c]
    alone_mm = torch.eye(gene_qm.shape[1], device=gene_qm.device, dtype=torch.bool)
    partly_mm = scores.partly_cc[seen_c][:, seen_c]
    (one, two), (adds, hides) = scores.size_2, scores.share_2
    first_qmm, second_qmm = gene_qm[:, :, None], gene_qm[:, None, :]
    added_qmm = (first_qmm + second_qmm) / length_mm
    partly_qmm = (first_qmm + HIDDEN * second_qmm) / partly_mm
    hidden_qmm = torch.logaddexp(partly_qmm, partly_qmm.transpose(1, 2))
    pair_qmm = torch.logaddexp(added_qmm + adds, hidden_qmm + hides) + two
    return torch.where(alone_mm, first_qmm / length_mm + one, pair_qmm)


def gene_scores(scores: SetScores) -> Tensor:
    """Score of each gene alone, (q, c)."""
    return scores.gene_qc / torch.diagonal(scores.length_cc)


def _upper(table_qmm: Tensor) -> Tensor:
    m = table_qmm.shape[1]
    a, b = torch.triu_indices(m, m, device=table_qmm.device)
    return table_qmm[:, a, b]


def set_loss(scores: SetScores, target_qc: Tensor, seen_c: Tensor) -> Tensor:
    """Cross-entropy of the true set among all sets of one and two seen genes, (q,)."""
    table_qmm = set_table(scores, seen_c)
    target_qm = target_qc[:, seen_c]
    first = target_qm.int().argmax(dim=1)
    last = target_qm.shape[1] - 1 - target_qm.flip(1).int().argmax(dim=1)
    rows = torch.arange(len(table_qmm), device=table_qmm.device)
    found_q = table_qmm[rows, first, last]
    return torch.logsumexp(_upper(table_qmm), dim=1) - found_q


def set_marginals(scores: SetScores, seen_c: Tensor) -> Tensor:
    """Log-odds that a gene is in the set, summed over all sets, (q, c) float64; -inf for unseen genes."""
    table_qmm = set_table(SetScores(*(s.double() for s in scores)), seen_c)
    every_q = torch.logsumexp(_upper(table_qmm), dim=1)
    log_p_qm = torch.logsumexp(table_qmm, dim=2) - every_q[:, None]
    odds_qm = log_p_qm - torch.log(-torch.expm1(log_p_qm.clamp(max=-1e-15)))
    # Of a gene that is all but sure, what speaks against it is lost in that difference.
    for q, gene in (log_p_qm > _SURE).nonzero().tolist():
        others = torch.arange(table_qmm.shape[1], device=table_qmm.device) != gene
        against = torch.logsumexp(_upper(table_qmm[q][others][:, others][None]), dim=1)
        odds_qm[q, gene] = every_q[q] + log_p_qm[q, gene] - against[0]
    out_qc = torch.full_like(scores.gene_qc, -torch.inf, dtype=torch.float64)
    out_qc[:, seen_c] = odds_qm
    return out_qc


def gene_loss(kind: str, gene_qc: Tensor, target_qc: Tensor) -> Tensor:
    """Loss of genes one by one, (q,): ``softmax``, ``bce`` or ``focal``.

    ``softmax`` spreads one over the perturbed genes. ``bce`` weighs yes so that it counts as much
    as all noes; ``focal`` (Lin et al. 2017, arXiv:1708.02002, gamma 2) turns to what is not known yet.
    """
    target = target_qc.to(gene_qc.dtype)
    size_q1 = target.sum(dim=1, keepdim=True)
    if kind == "softmax":
        return -(target / size_q1 * functional.log_softmax(gene_qc, dim=1)).sum(dim=1)
    entropy_qc = functional.binary_cross_entropy_with_logits(gene_qc, target, reduction="none")
    if kind == "bce":
        weight_qc = torch.where(target_qc, (target.shape[1] - size_q1) / size_q1, 1.0)
        return (weight_qc * entropy_qc).mean(dim=1)
    return (entropy_qc * (1 - torch.exp(-entropy_qc)) ** 2).sum(dim=1)
