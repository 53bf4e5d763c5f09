"""What both encoders promise: they start at the unigram, see only what is visible, and learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cellwright.models.build import EncoderSettings, build_encoder


@pytest.fixture(params=["latent", "full"])
def model(request, task):
    settings = EncoderSettings(size="tiny", width=16, latents=4, attention=request.param)
    return build_encoder(settings, task.log_gk, 0)


def shaken(model):
    """The model with every parameter moved, as training would: a zero head hides mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def nll(model, task):
    logits = model.eval()(task.ids_ng, task.hidden_ng, task.targets_nm).double()
    return functional.cross_entropy(
        logits.flatten(0, 1), task.truth_nm.flatten(), reduction="none"
    ).view(task.truth_nm.shape)


def test_untrained_it_is_the_unigram_under_the_masking_rule(model, task):
    found = nll(model, task).mean(1).detach().numpy()
    np.testing.assert_allclose(found, task.beside.nll_n["unigram_masked"], atol=1e-6)
    perplexity = np.exp(found.mean())
    assert perplexity == pytest.approx(task.beside.perplexity["unigram_masked"], rel=1e-6)


def test_the_probability_lies_on_the_bins_in_use(model, task):
    logits = shaken(model).eval()(task.ids_ng, task.hidden_ng, task.targets_nm)
    assert logits.shape == (*task.targets_nm.shape, task.log_gk.shape[1])
    assert logits.dtype == torch.float32
    unused_gk = torch.arange(logits.shape[2]) >= torch.from_numpy(task.n_bins_g)[:, None]
    mass = (logits.softmax(-1) * unused_gk[task.targets_nm]).sum(-1)
    assert unused_gk[task.targets_nm].any() and mass.max() < 1e-6


def test_masked_genes_do_not_show_their_bins(model, task):
    shaken(model).eval()
    other_ng = torch.where(task.hidden_ng, (task.ids_ng + 1) % 6, task.ids_ng)
    logits, pooled = (
        [model(ids_ng, task.hidden_ng, task.targets_nm) for ids_ng in (task.ids_ng, other_ng)],
        [model.pool(ids_ng, task.hidden_ng, "mean") for ids_ng in (task.ids_ng, other_ng)],
    )
    assert torch.equal(*logits)
    assert torch.equal(*pooled)


def test_visible_genes_do(model, task):
    shaken(model).eval()
    other_ng = torch.where(task.hidden_ng, task.ids_ng, (task.ids_ng + 1) % 2)
    one = model(task.ids_ng, task.hidden_ng, task.targets_nm)
    assert (model(other_ng, task.hidden_ng, task.targets_nm) - one).abs().max() > 1e-3


def test_a_cell_is_read_alone(model, task):
    """Neither the other cells of a batch nor the order of the targets change a prediction."""
    shaken(model).eval()
    whole = model(task.ids_ng, task.hidden_ng, task.targets_nm)
    one = model(task.ids_ng[3:4], task.hidden_ng[3:4], task.targets_nm[3:4].flip(1))
    torch.testing.assert_close(one.flip(1), whole[3:4], rtol=0, atol=1e-5)


def test_evaluation_is_deterministic_and_training_is_not(model, task):
    shaken(model)
    given = (task.ids_ng, task.hidden_ng, task.targets_nm)
    model.eval()
    assert torch.equal(model(*given), model(*given))
    model.train()
    assert not torch.equal(model(*given), model(*given))


def test_every_parameter_is_trained(model, task):
    logits = shaken(model).train()(task.ids_ng, task.hidden_ng, task.targets_nm)
    functional.cross_entropy(logits.flatten(0, 1), task.truth_nm.flatten()).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    # A constant added to every score, or to every key, cancels in a softmax.
    assert [n for n in idle if n != "to_key.bias"] == []


def test_pooling(model, task):
    shaken(model).eval()
    tokens = model.encode(task.ids_ng, task.hidden_ng)
    assert torch.equal(model.pool(task.ids_ng, task.hidden_ng, "concat"), tokens.flatten(1))
    mean = model.pool(task.ids_ng, task.hidden_ng, "mean")
    if tokens.shape[1] == task.ids_ng.shape[1]:
        expected = torch.stack(
            [t[~hidden].mean(0) for t, hidden in zip(tokens, task.hidden_ng, strict=True)]
        )
    else:
        expected = tokens.mean(1)
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-6)


def test_gene_vectors_are_one_per_gene(model, task):
    assert model.gene_vectors().shape == (task.log_gk.shape[0], 16)


def test_it_learns_a_rule_that_no_unigram_knows(model, task):
    """Bins that all equal the cell's first visible bin: a few steps reach a loss near zero."""
    generator = torch.Generator().manual_seed(0)
    level_n = torch.randint(0, 2, (64,), generator=generator)
    ids_ng = level_n[:, None].expand(-1, task.log_gk.shape[0]).contiguous()
    hidden_ng = torch.zeros_like(ids_ng, dtype=torch.bool)
    hidden_ng[:, ::5] = True
    targets_nm = hidden_ng.nonzero()[:, 1].view(64, -1)
    truth = ids_ng.gather(1, targets_nm).flatten()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for _ in range(60):
        loss = functional.cross_entropy(model(ids_ng, hidden_ng, targets_nm).flatten(0, 1), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_the_average_cell_leaves_no_trace(task):
    """What the latents read is the difference to the average cell: none, and they are the same."""
    settings = EncoderSettings(size="tiny", width=16, latents=4, dropout=0.0)
    certain_gk = functional.one_hot(task.ids_ng[0], 6).float().clamp_min(1e-9).log()
    model = shaken(build_encoder(settings, certain_gk, 0)).eval()
    nothing = torch.zeros(1, task.ids_ng.shape[1], dtype=torch.bool)
    latents = model.encode(task.ids_ng[:1], nothing)
    expected = (model.latent_ld + model.read_out.bias)[None]
    for layer in model.layers:
        expected = layer(expected)
    torch.testing.assert_close(latents, model.latent_norm(expected), rtol=0, atol=1e-4)
