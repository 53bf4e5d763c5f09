"""BinAttention against softmax attention over explicit (gene, bin) tokens."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cellwright.models.bin_attention import BinAttention, _WeightPerBin

LATENTS, HEADS, WIDTH, VALUES = 3, 2, 8, 5
CELLS, GENES = 4, 11


@pytest.fixture
def given():
    """Double precision: the attention, gene embeddings, bins, and where genes are hidden."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        read = BinAttention(LATENTS, HEADS, WIDTH, VALUES).double()
        # Scores of a trained network's size, so that the weights differ by orders of magnitude.
        with torch.no_grad():
            read.bin_score_kl.mul_(20)
            read.gene_score.weight.mul_(5)
    gene_gd = torch.randn(GENES, WIDTH, dtype=torch.double, generator=generator)
    ids_ng = torch.randint(0, VALUES, (CELLS, GENES), generator=generator)
    hidden_ng = torch.rand(CELLS, GENES, generator=generator) < 0.3
    return read, gene_gd.requires_grad_(), ids_ng, hidden_ng


def plain(read, gene_gd, ids_ng, hidden_ng):
    """One key and one value per token, softmax per pair, cell by cell and latent by latent."""
    cells = []
    for ids_g, hidden_g in zip(ids_ng, hidden_ng, strict=True):
        score_gl = read.gene_score(gene_gd) + read.bin_score_kl[ids_g]
        value_gd = read.gene_value(gene_gd) + read.bin_value_kd[ids_g]
        score_gl = score_gl.masked_fill(hidden_g[:, None], -torch.inf)
        rows = []
        for latent in range(read.latents):
            parts = []
            for head in range(read.heads):
                weight_g = score_gl[:, latent * read.heads + head].softmax(0)
                size = WIDTH // read.heads
                parts.append(weight_g @ value_gd[:, head * size : (head + 1) * size])
            rows.append(torch.cat(parts))
        cells.append(torch.stack(rows))
    return torch.stack(cells)


def gradients(module, gene_gd, output):
    """Of a fixed random projection of the output, for every parameter and the gene embeddings."""
    weights = torch.randn(
        output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(1)
    )
    names = [name for name, _ in module.named_parameters()]
    found = torch.autograd.grad((output * weights).sum(), [*module.parameters(), gene_gd])
    return dict(zip([*names, "gene_gd"], found, strict=True))


def test_equals_softmax_attention_over_the_visible_tokens(given):
    torch.testing.assert_close(given[0](*given[1:]), plain(*given), rtol=0, atol=1e-12)


def test_gradients_equal_those_of_softmax_attention(given):
    read, gene_gd, ids_ng, hidden_ng = given
    ours = gradients(read, gene_gd, read(gene_gd, ids_ng, hidden_ng))
    theirs = gradients(read, gene_gd, plain(*given))
    assert ours.keys() == theirs.keys() and len(ours) == 5
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 1e-4, name
        torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-11, msg=name)


def test_equals_scaled_dot_product_attention(given):
    """The same scores spelled as queries times keys: a one-hot query picks its row of scores."""
    read, gene_gd, ids_ng, hidden_ng = given
    score_ngl = read.gene_score(gene_gd) + read.bin_score_kl[ids_ng]
    value_ngd = read.gene_value(gene_gd) + read.bin_value_kd[ids_ng]
    head_width = WIDTH // HEADS
    value_nhgd = value_ngd.view(CELLS, GENES, HEADS, head_width).transpose(1, 2)
    key_nhgl = score_ngl.view(CELLS, GENES, LATENTS, HEADS).permute(0, 3, 1, 2)
    query_nhll = torch.eye(LATENTS, dtype=torch.double).expand(CELLS, HEADS, -1, -1)
    out_nhld = functional.scaled_dot_product_attention(
        query_nhll, key_nhgl, value_nhgd, attn_mask=~hidden_ng[:, None, None, :], scale=1.0
    )
    expected = out_nhld.transpose(1, 2).reshape(CELLS, LATENTS, WIDTH)
    torch.testing.assert_close(read(gene_gd, ids_ng, hidden_ng), expected, rtol=0, atol=1e-12)


def test_hidden_genes_have_no_influence(given):
    read, gene_gd, ids_ng, hidden_ng = given
    before = read(gene_gd, ids_ng, hidden_ng)
    other_ng = torch.where(hidden_ng, (ids_ng + 1) % VALUES, ids_ng)
    torch.testing.assert_close(read(gene_gd, other_ng, hidden_ng), before, rtol=0, atol=0)
    hidden_ng = hidden_ng.clone()
    hidden_ng[:, 7] = True
    (gradient_gd,) = torch.autograd.grad(read(gene_gd, ids_ng, hidden_ng).sum(), gene_gd)
    assert gradient_gd[7].abs().max() == 0
    assert gradient_gd[hidden_ng.logical_not().any(0)].abs().max() > 1e-4


def test_a_cell_of_which_nothing_is_seen_gives_zeros(given):
    read, gene_gd, ids_ng, hidden_ng = given
    out = read(gene_gd, ids_ng, torch.ones_like(hidden_ng))
    assert torch.equal(out, torch.zeros_like(out))


@pytest.mark.parametrize(("factor", "exact"), [(4, True), (100, False)])
def test_large_scores_stay_finite_and_are_right_up_to_what_float32_holds(given, factor, exact):
    read, gene_gd, ids_ng, hidden_ng = given
    read, gene_gd = read.float(), gene_gd.detach().float()
    with torch.no_grad():
        read.gene_score.weight.mul_(factor)
    out = read(gene_gd, ids_ng, hidden_ng)
    assert torch.isfinite(out).all()
    if exact:
        expected = plain(read.double(), gene_gd.double(), ids_ng, hidden_ng).float()
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_the_average_equals_attention_over_an_explicit_average_cell(given):
    """Each gene once per bin, its weight times the bin's frequency: log frequencies as mask."""
    read, gene_gd, _, _ = given
    frequencies_gk = torch.rand(
        GENES, VALUES, dtype=torch.double, generator=torch.Generator().manual_seed(2)
    ).softmax(1)
    gene_t = torch.arange(GENES).repeat_interleave(VALUES)
    bin_t = torch.arange(VALUES).repeat(GENES)
    score_tl = read.gene_score(gene_gd)[gene_t] + read.bin_score_kl[bin_t]
    score_tl = score_tl + frequencies_gk[gene_t, bin_t].log()[:, None]
    value_td = read.gene_value(gene_gd)[gene_t] + read.bin_value_kd[bin_t]
    weight_tl = score_tl.softmax(0).view(-1, LATENTS, HEADS)
    value_thd = value_td.view(-1, HEADS, WIDTH // HEADS)
    expected = torch.einsum("tlh,thd->lhd", weight_tl, value_thd).reshape(LATENTS, WIDTH)
    ours = read.average(gene_gd, frequencies_gk)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    # gene and bin scores enter both sides; the gradients too must agree.
    found, wanted = gradients(read, gene_gd, ours), gradients(read, gene_gd, expected)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-11, msg=name)


def test_of_cells_that_are_all_alike_each_is_the_average(given):
    read, gene_gd, ids_ng, _ = given
    ids_ng = ids_ng[:1].expand(CELLS, -1)
    frequencies_gk = functional.one_hot(ids_ng[0], VALUES).double()
    each = read(gene_gd, ids_ng, torch.zeros(CELLS, GENES, dtype=torch.bool))
    average = read.average(gene_gd, frequencies_gk).expand(CELLS, -1, -1)
    torch.testing.assert_close(each, average, rtol=0, atol=1e-12)


def test_half_precision_is_close_and_float32_closer(given):
    read, gene_gd, ids_ng, hidden_ng = given
    exact = plain(*given).detach()
    read, gene_gd = read.float(), gene_gd.detach().float()
    full = read(gene_gd, ids_ng, hidden_ng)
    with torch.autocast("cpu", torch.bfloat16):
        half = read(gene_gd, ids_ng, hidden_ng)
    scale = exact.abs().max()
    assert half.dtype == torch.float32
    assert (full - exact).abs().max() < 1e-5 * scale
    assert (half - exact).abs().max() < 0.05 * scale


def test_the_average_is_not_rounded_under_autocast(given):
    read, gene_gd = given[0].float(), given[1].detach().float()
    frequencies_gk = torch.full((GENES, VALUES), 1 / VALUES)
    with torch.autocast("cpu", torch.bfloat16):
        half = read.average(gene_gd, frequencies_gk)
    assert torch.equal(half, read.average(gene_gd, frequencies_gk))


def test_gradcheck_of_the_look_up(given):
    ids_ng = given[2]
    table_lk = torch.rand(LATENTS, VALUES, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: _WeightPerBin.apply(t, ids_ng), (table_lk,))
    expected = table_lk[:, ids_ng]
    assert torch.equal(_WeightPerBin.apply(table_lk, ids_ng), expected)


def test_gradcheck_of_the_attention(given):
    read, gene_gd, ids_ng, hidden_ng = given
    with torch.no_grad():
        read.bin_score_kl.div_(20)
        read.gene_score.weight.div_(5)
    assert torch.autograd.gradcheck(lambda x: read(x, ids_ng, hidden_ng), (gene_gd,))
