"""Cross-attention from latents to binned genes, as matrix products instead of a softmax per pair.

A gene token is the pair (gene g, bin k). With keys and values that are sums of a gene part and a
bin part, the attention weight of latent query l on gene g in bin k factorises:

    exp(q_l · (key_g + key_k)) = exp(s_lg) · exp(s_lk)

so the weights of a whole batch are a table look-up times a constant, the weighted sum of gene
values is one batched matrix product, and the weighted sum of bin values needs only the total
weight per bin. The result equals softmax attention over all visible tokens (tested against
``torch.nn.functional.scaled_dot_product_attention``); the cost is linear in the number of genes
and no attention map is normalised, stored or dropped out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _WeightPerBin(torch.autograd.Function):
    """weight_lng[l, n, g] = table_lk[l, ids_ng[n, g]]; the gradient is one product with a one-hot."""

    @staticmethod
    def forward(ctx: Any, table_lk: Tensor, ids_ng: Tensor) -> Tensor:
        n, g = ids_ng.shape
        ctx.save_for_backward(ids_ng)
        ctx.bins = table_lk.shape[1]
        return table_lk.index_select(1, ids_ng.reshape(-1)).view(-1, n, g)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (ids_ng,) = ctx.saved_tensors
        grad_lng = grads[0]
        onehot_tk = grad_lng.new_zeros(ids_ng.numel(), ctx.bins)
        onehot_tk.scatter_(1, ids_ng.reshape(-1, 1), 1.0)
        return grad_lng.reshape(grad_lng.shape[0], -1) @ onehot_tk, None


def _weight_per_bin(table_lk: Tensor, ids_ng: Tensor) -> Tensor:
    out: Tensor = _WeightPerBin.apply(table_lk, ids_ng)  # type: ignore[no-untyped-call]
    return out


class BinAttention(nn.Module):
    """Latent queries attend to the visible (gene, bin) tokens of each cell.

    Parameters
    ----------
    latents, heads, width
        Number of queries, of heads, and of output dims per query (``width`` divides by ``heads``).
    values
        Number of bin ids.
    """

    def __init__(self, latents: int, heads: int, width: int, values: int) -> None:
        super().__init__()
        self.latents, self.heads, self.values = latents, heads, values
        queries = latents * heads
        self.gene_score = nn.Linear(width, queries, bias=False)
        # Each query starts out drawn to high or to low bins, more or less: at equal weights every
        # cell would read the same, and training would idle for epochs.
        ramp_k1 = torch.linspace(-1.0, 1.0, values).unsqueeze(1)
        start_kl = 1.5 * ramp_k1 * torch.randn(1, queries) + 0.1 * torch.randn(values, queries)
        self.bin_score_kl = nn.Parameter(start_kl)
        self.gene_value = nn.Linear(width, width, bias=False)
        self.bin_value_kd = nn.Parameter(torch.randn(values, width) * 0.05)

    def average(self, gene_gd: Tensor, frequencies_gk: Tensor) -> Tensor:
        """What the queries would read from the average cell, (latents, width)."""
        heads = self.heads
        # Not in half precision: what is subtracted from every cell must not be rounded.
        with torch.autocast(gene_gd.device.type, enabled=False):
            gene_weight_lg, bin_weight_lk = self._weights(gene_gd)
            mass_lg = gene_weight_lg * (bin_weight_lk @ frequencies_gk.T)
            mass_lk = bin_weight_lk * (gene_weight_lg @ frequencies_gk)
            value_hgd = self._by_head(self.gene_value(gene_gd))
            value_hkd = self._by_head(self.bin_value_kd)
            summed_lhd = torch.einsum(
                "lhg,hgd->lhd", mass_lg.view(self.latents, heads, -1), value_hgd
            ) + torch.einsum("lhk,hkd->lhd", mass_lk.view(self.latents, heads, -1), value_hkd)
            total_lh1 = mass_lg.sum(1).view(self.latents, heads, 1)
            return (summed_lhd / total_lh1).reshape(self.latents, -1)

    def _by_head(self, x_td: Tensor) -> Tensor:
        return _wide(x_td).view(x_td.shape[0], self.heads, -1).transpose(0, 1)

    def _weights(self, gene_gd: Tensor) -> tuple[Tensor, Tensor]:
        score_lg = _wide(self.gene_score(gene_gd)).T
        # A constant per query cancels in the softmax; it keeps the exponentials at or below one.
        gene_weight_lg = (score_lg - score_lg.amax(1, keepdim=True).detach()).exp()
        score_lk = _wide(self.bin_score_kl).T
        bin_weight_lk = (score_lk - score_lk.amax(1, keepdim=True).detach()).exp()
        return gene_weight_lg, bin_weight_lk

    def forward(self, gene_gd: Tensor, value_ids_ng: Tensor, hidden_ng: Tensor) -> Tensor:
        """Attend.

        gene_gd: gene embeddings; value_ids_ng: int64 bin ids; hidden_ng: True where the gene is
        not to be seen (masked, or absent from the data). Returns (n, latents, width).
        """
        n, g = value_ids_ng.shape
        heads, head_width = self.heads, gene_gd.shape[1] // self.heads
        dtype = _compute_dtype(gene_gd)
        gene_weight_lg, bin_weight_lk = self._weights(gene_gd)
        # One more bin with weight zero: the hidden genes.
        bin_weight_lk = nn.functional.pad(bin_weight_lk, (0, 1))
        ids_ng = value_ids_ng.masked_fill(hidden_ng, self.values)

        weight_lng = _weight_per_bin(bin_weight_lk.to(dtype), ids_ng)
        value_hgd = self._by_head(self.gene_value(gene_gd))
        value_lgd = gene_weight_lg.view(self.latents, heads, g, 1) * value_hgd
        value_lgd = value_lgd.reshape(-1, g, head_width).to(dtype)
        with torch.autocast(gene_gd.device.type, enabled=False):
            gene_sum_lnd = _wide(torch.bmm(weight_lng, value_lgd))
            onehot_nkg = gene_weight_lg.new_zeros((n, self.values + 1, g), dtype=dtype)
            onehot_nkg.scatter_(1, ids_ng.unsqueeze(1), 1.0)
            per_bin_nkl = onehot_nkg.view(-1, g) @ gene_weight_lg.T.to(dtype)
            mass_nkl = _wide(per_bin_nkl).view(n, self.values + 1, -1) * bin_weight_lk.T
            total_nl = mass_nkl.sum(1).clamp_min(torch.finfo(torch.float32).tiny)
            bin_sum = torch.einsum(
                "nklh,hkd->nlhd",
                mass_nkl[:, :-1].view(n, self.values, self.latents, heads),
                self._by_head(self.bin_value_kd),
            )
            gene_sum = gene_sum_lnd.view(self.latents, heads, n, head_width).permute(2, 0, 1, 3)
            mixed = (gene_sum + bin_sum) / total_nl.view(n, self.latents, heads, 1)
        return mixed.reshape(n, self.latents, -1)


def _wide(x: Tensor) -> Tensor:
    """In float32, or in float64 where that is what was given: half precision cannot sum."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _compute_dtype(reference: Tensor) -> torch.dtype:
    device = reference.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return reference.dtype
