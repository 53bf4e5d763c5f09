"""Networks that ask for each candidate by itself: over tokens of genes, or over a graph of candidates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cellwright.models.reverse_attention import TokenAttention
from cellwright.models.reverse_mlp import GroupInput, Inputs, StartsLinear, Trunk
from cellwright.models.reverse_sets import SetHead, SetScores

# Genes with a token each: those that vary most in control cells.
TOKENS = 128
# Share of the candidates that are known by their knowledge alone in a training step, as those are
# that were never seen perturbed.
_UNKNOWN = 0.15


class KnownGenes(nn.Module):
    """What is known of measured and candidate genes, on one scale, as vectors of one length."""

    measured_gf: Tensor
    candidate_cf: Tensor
    pair_ccp: Tensor

    def __init__(self, genes: int, candidates: int, features: int, pairs: int, width: int) -> None:
        super().__init__()
        self.register_buffer("measured_gf", torch.zeros(genes, features))
        self.register_buffer("candidate_cf", torch.zeros(candidates, features))
        self.register_buffer("pair_ccp", torch.zeros(candidates, candidates, pairs))
        self.features = features
        self.project = nn.Linear(features, width, bias=False) if features else None

    @torch.no_grad()
    def tell(self, measured_gf: Tensor, candidate_cf: Tensor, pair_ccp: Tensor) -> None:
        """Take knowledge in; columns are scaled by their spread over all genes."""
        together = torch.cat([measured_gf, candidate_cf])
        centre = together.mean(dim=0)
        spread = together.std(dim=0, correction=0)
        spread = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
        # Many columns must not say more than few.
        scale = spread * max(self.features, 1) ** 0.5
        self.measured_gf.copy_((measured_gf - centre) / scale)
        self.candidate_cf.copy_((candidate_cf - centre) / scale)
        self.pair_ccp.copy_(pair_ccp)

    def candidates(self) -> Tensor | None:
        """(c, width), or None without knowledge."""
        return None if self.project is None else self.project(self.candidate_cf)

    def measured(self, places: Tensor) -> Tensor | None:
        """(tokens, width) of some measured genes, or None without knowledge."""
        return None if self.project is None else self.project(self.measured_gf[places])


class _Candidates(StartsLinear):
    """A trunk and codes of candidates; codes of a share of them are hidden in training."""

    known: KnownGenes

    def __init__(
        self,
        genes: int,
        candidates: int,
        hidden: Sequence[int],
        width: int,
        dropout: float,
        inputs: Inputs,
        features: int,
        pairs: int,
    ) -> None:
        super().__init__()
        self.input = GroupInput(genes, inputs)
        self.trunk = Trunk(self.input.width, hidden, width, dropout)
        self.head = SetHead(candidates, width)
        self.known = KnownGenes(genes, candidates, features, pairs, width)
        self.guess = nn.Linear(width, width)
        nn.init.zeros_(self.guess.weight)
        nn.init.zeros_(self.guess.bias)

    def _codes(self) -> Tensor:
        """Codes of candidates, (c, width): their own plus what their knowledge lets guess."""
        code_cd: Tensor = self.head.code_cd
        known_cd = self.known.candidates()
        if known_cd is None:
            return code_cd
        if self.training:
            kept_c1 = torch.rand(len(code_cd), 1, device=code_cd.device) > _UNKNOWN
            code_cd = code_cd * kept_c1
        return code_cd + self.guess(known_cd)


def _readout(width: int, dropout: float) -> nn.Sequential:
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), last
    )


class ReverseCrossAttention(_Candidates):
    """Candidates with their knowledge ask; keys and values are tokens of the genes of the query.

    A token is the gene's embedding, its knowledge and its value. Tokens are the genes that vary
    most in control cells; the trunk sees all genes.
    """

    token_t: Tensor

    def __init__(
        self,
        genes: int,
        candidates: int,
        hidden: Sequence[int],
        width: int,
        dropout: float,
        heads: int,
        inputs: Inputs = "shift",
        features: int = 0,
        pairs: int = 0,
    ) -> None:
        super().__init__(genes, candidates, hidden, width, dropout, inputs, features, pairs)
        tokens = min(TOKENS, genes)
        self.register_buffer("token_t", torch.arange(tokens))
        self.attention = TokenAttention(tokens, heads, width)
        self.ask = nn.Linear(width, width)
        self.readout = _readout(width, dropout)

    @torch.no_grad()
    def choose(self, sd_g: Tensor) -> None:
        """Take the genes of the highest standard deviation as tokens."""
        order = torch.argsort(sd_g, descending=True, stable=True)
        self.token_t.copy_(torch.sort(order[: len(self.token_t)]).values)

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> SetScores:
        """Groups to scores of genes and sets."""
        x_qi = self.input(shift_qg, mean_qg)
        code_cd = self._codes()
        scores = self.head.scores(self.trunk(x_qi), code_cd)
        known_cd = self.known.candidates()
        question_cd = self.ask(code_cd if known_cd is None else code_cd + known_cd)
        answer_qcd = self.attention(
            x_qi[:, self.token_t], question_cd, self.known.measured(self.token_t)
        )
        extra_qc = self.readout(answer_qcd + question_cd).squeeze(-1)
        return scores._replace(gene_qc=scores.gene_qc + extra_qc)


class GraphLayer(nn.Module):
    """Graph attention over candidates (Velickovic et al. 2018, arXiv:1710.10903) with features of edges."""

    def __init__(self, width: int, heads: int, edges: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.part = heads, width // heads
        self.norm = nn.LayerNorm(width)
        self.node = nn.Linear(width, width, bias=False)
        self.near = nn.Linear(width, heads, bias=False)
        self.far = nn.Linear(width, heads, bias=False)
        self.edge = nn.Linear(edges, heads)
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def forward(self, node_qcd: Tensor, edge_cce: Tensor) -> Tensor:
        """States of nodes to states of nodes, (q, c, width)."""
        x_qcd = self.norm(node_qcd)
        near_qhc = self.near(x_qcd).transpose(1, 2)
        far_qhc = self.far(x_qcd).transpose(1, 2)
        edge_hcc = self.edge(edge_cce).permute(2, 0, 1)
        weight_qhcc = torch.softmax(
            nn.functional.leaky_relu(near_qhc[..., None] + far_qhc[..., None, :] + edge_hcc, 0.2),
            dim=-1,
        )
        value_qhcd = self.node(x_qcd).unflatten(-1, (self.heads, self.part)).transpose(1, 2)
        answer_qcd = (weight_qhcc @ value_qhcd).transpose(1, 2).flatten(2)
        found: Tensor = node_qcd + self.out(answer_qcd)
        return found


class ReverseGraph(_Candidates):
    """Candidates are nodes of a graph whose edges carry what is known of two genes.

    The graph is one of genes, so that no cell of the test is joined to a cell of training. Edges
    hold the likeness of two codes and the pair features of gene knowledge.
    """

    def __init__(
        self,
        genes: int,
        candidates: int,
        hidden: Sequence[int],
        width: int,
        dropout: float,
        heads: int,
        layers: int,
        inputs: Inputs = "shift",
        features: int = 0,
        pairs: int = 0,
    ) -> None:
        super().__init__(genes, candidates, hidden, width, dropout, inputs, features, pairs)
        self.layers = nn.ModuleList(
            GraphLayer(width, heads, pairs + 1, dropout) for _ in range(layers)
        )
        self.readout = _readout(width, dropout)

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> SetScores:
        """Groups to scores of genes and sets."""
        code_qd = self.trunk(self.input(shift_qg, mean_qg))
        code_cd = self._codes()
        scores = self.head.scores(code_qd, code_cd)
        unit_cd = nn.functional.normalize(code_cd, dim=1)
        edge_cce = torch.cat([(unit_cd @ unit_cd.T)[..., None], self.known.pair_ccp], dim=2)
        # The products whose sum is how far a query lies along a gene's code.
        unit_qd = nn.functional.normalize(code_qd, dim=1)
        node_qcd = unit_qd[:, None] * unit_cd * unit_qd.shape[1] ** 0.5
        for layer in self.layers:
            node_qcd = layer(node_qcd, edge_cce)
        extra_qc = self.readout(node_qcd).squeeze(-1)
        return scores._replace(gene_qc=scores.gene_qc + extra_qc)
