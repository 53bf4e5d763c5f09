"""Full self-attention over all genes: the field's usual encoder, for small panels and comparison."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FullEncoder(nn.Module):
    """A transformer encoder with one token per gene; its cost grows with the square of the genes.

    A token is gene embedding + bin embedding; a hidden gene carries a mask embedding instead of
    its bin. The arguments are those of ``LatentEncoder`` without ``latents``.
    """

    def __init__(
        self,
        log_frequencies_gk: Tensor,
        *,
        width: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        genes, values = log_frequencies_gk.shape
        self.register_buffer("log_frequencies_gk", log_frequencies_gk.float())
        self.values = values
        self.gene_gd = nn.Parameter(torch.randn(genes, width) * 0.1)
        self.value_kd = nn.Parameter(torch.randn(values + 1, width) * 0.1)
        layer = nn.TransformerEncoderLayer(
            width, heads, feedforward, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, values)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    log_frequencies_gk: Tensor

    def encode(self, value_ids_ng: Tensor, hidden_ng: Tensor) -> Tensor:
        """One vector per gene token, (n, genes, width)."""
        ids_ng = value_ids_ng.masked_fill(hidden_ng, self.values)
        return self.norm(self.encoder(self.gene_gd + functional.embedding(ids_ng, self.value_kd)))

    def forward(self, value_ids_ng: Tensor, hidden_ng: Tensor, targets_nm: Tensor) -> Tensor:
        """Logits over bins, (n, m, bins) float32, for the genes ``targets_nm``."""
        token_ngd = self.encode(value_ids_ng, hidden_ng)
        index = targets_nm.unsqueeze(-1).expand(-1, -1, token_ngd.shape[-1])
        logits = self.head(token_ngd.gather(1, index)).float()
        return logits + functional.embedding(targets_nm, self.log_frequencies_gk)

    def pool(self, value_ids_ng: Tensor, hidden_ng: Tensor, pooling: str) -> Tensor:
        """One vector per cell: the mean over the gene tokens that are not hidden."""
        token_ngd = self.encode(value_ids_ng, hidden_ng)
        if pooling == "concat":
            return token_ngd.flatten(1)
        seen_ng1 = (~hidden_ng).unsqueeze(-1).to(token_ngd.dtype)
        return (token_ngd * seen_ng1).sum(1) / seen_ng1.sum(1).clamp_min(1.0)

    def gene_vectors(self) -> Tensor:
        """One vector per gene, (genes, width)."""
        return self.gene_gd
