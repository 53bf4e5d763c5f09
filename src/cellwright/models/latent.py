"""The latent cross-attention encoder: its cost grows linearly with the number of genes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellwright.models.bin_attention import BinAttention


class LatentEncoder(nn.Module):
    """A few learned latents read the visible genes, talk to each other, and are read by masked genes.

    Reading in is ``BinAttention``; the latents pass through ``layers`` pre-norm transformer
    layers; a masked gene attends back to the latents with its own query, passes a feed-forward
    block and predicts its bin. Each gene's log bin frequencies are the output bias, so the
    untrained model starts at the unigram reference. After Perceiver IO (Jaegle et al. 2021,
    arXiv:2107.14795).

    Parameters
    ----------
    log_frequencies_gk
        (genes, bins) log bin frequencies of the training cells, -30 for bins a gene does not use.
    """

    def __init__(
        self,
        log_frequencies_gk: Tensor,
        *,
        width: int,
        latents: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        genes, values = log_frequencies_gk.shape
        self.width, self.heads = width, heads
        self.register_buffer("log_frequencies_gk", log_frequencies_gk.float())
        self.gene_gd = nn.Parameter(torch.randn(genes, width) * 0.1)
        self.query_gd = nn.Parameter(torch.randn(genes, width) * 0.1)
        self.latent_ld = nn.Parameter(torch.randn(latents, width) * 0.1)
        self.read = BinAttention(latents, heads, width, values)
        self.read_gain_ld = nn.Parameter(torch.full((latents, width), 10.0))
        self.read_out = nn.Linear(width, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                heads,
                feedforward,
                dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.latent_norm = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_key = nn.Linear(width, width)
        self.to_value = nn.Linear(width, width)
        self.back_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
        )
        self.head_norm = nn.LayerNorm(width)
        self.head_dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, values)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    log_frequencies_gk: Tensor

    def encode(self, value_ids_ng: Tensor, hidden_ng: Tensor) -> Tensor:
        """The latents of each cell, (n, latents, width)."""
        # A mean over thousands of genes hardly differs between cells. What the average cell would
        # give is therefore subtracted and the rest enlarged; without this training crawls.
        read_nld = self.read(self.gene_gd, value_ids_ng, hidden_ng)
        average_ld = self.read.average(self.gene_gd, self.log_frequencies_gk.exp())
        read_nld = (read_nld - average_ld) * self.read_gain_ld
        latent_nld = self.latent_ld + self.read_out(read_nld)
        for layer in self.layers:
            latent_nld = layer(latent_nld)
        return self.latent_norm(latent_nld)

    def forward(self, value_ids_ng: Tensor, hidden_ng: Tensor, targets_nm: Tensor) -> Tensor:
        """Logits over bins, (n, m, bins) float32, for the genes ``targets_nm`` (m columns per cell)."""
        latent_nld = self.encode(value_ids_ng, hidden_ng)
        n, m = targets_nm.shape
        query = functional.embedding(targets_nm, self.to_query(self.query_gd))
        attended = functional.scaled_dot_product_attention(
            self._by_head(query),
            self._by_head(self.to_key(latent_nld)),
            self._by_head(self.to_value(latent_nld)),
        )
        attended = attended.transpose(1, 2).reshape(n, m, self.width)
        hidden = functional.embedding(targets_nm, self.query_gd) + self.back_out(attended)
        hidden = hidden + self.mlp(self.mlp_norm(hidden))
        logits = self.head(self.head_dropout(self.head_norm(hidden))).float()
        return logits + functional.embedding(targets_nm, self.log_frequencies_gk)

    def pool(self, value_ids_ng: Tensor, hidden_ng: Tensor, pooling: str) -> Tensor:
        """One vector per cell: the mean over latents (``mean``) or all of them (``concat``)."""
        latent_nld = self.encode(value_ids_ng, hidden_ng)
        return latent_nld.flatten(1) if pooling == "concat" else latent_nld.mean(1)

    def gene_vectors(self) -> Tensor:
        """One vector per gene, (genes, width): the embedding with which the gene is read."""
        return self.gene_gd

    def _by_head(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        return x.view(n, t, self.heads, -1).transpose(1, 2)
