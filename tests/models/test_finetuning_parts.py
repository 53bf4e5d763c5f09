"""Heads, frozen layers and low-rank changes, beside their definitions."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from cellwright.errors import SettingsError
from cellwright.models.freezing import freeze_layers, layers_of, quick_copy
from cellwright.models.full import FullEncoder
from cellwright.models.heads import ClassHead, RankClassifier, TokenClassifier
from cellwright.models.latent import LatentEncoder
from cellwright.models.lora import add_lora, merge_lora
from cellwright.models.rank_encoder import RankShape, random_rank_encoder

SHAPE = RankShape(
    tokens=40,
    width=16,
    layers=3,
    heads=2,
    feedforward=24,
    positions=30,
    dropout=0.0,
    attention_dropout=0.0,
)
LENGTHS = [7, 7, 4]


def rank_encoder():
    return random_rank_encoder(SHAPE, 0)


def bin_encoder(kind):
    frequencies = torch.log_softmax(
        torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), -1
    )
    shape = {"width": 16, "layers": 2, "heads": 2, "feedforward": 24, "dropout": 0.0}
    torch.manual_seed(0)
    if kind == "full":
        return FullEncoder(frequencies, **shape)
    return LatentEncoder(frequencies, latents=3, **shape)


def encoders():
    return {"rank": rank_encoder(), "latent": bin_encoder("latent"), "full": bin_encoder("full")}


def run(encoder):
    """Some output of an encoder that depends on all its layers."""
    if hasattr(encoder, "pool"):
        ids = torch.arange(24).reshape(2, 12) % 5
        return encoder.pool(ids, torch.zeros(2, 12, dtype=torch.bool), "mean")
    ids = torch.arange(sum(LENGTHS)) + 4
    return encoder(ids, LENGTHS)[0]


@pytest.mark.parametrize("kind", ["rank", "latent", "full"])
def test_freezing_leaves_what_is_below_without_gradient_and_the_rest_with_one(kind):
    encoder = encoders()[kind].train()
    before = run(encoder).detach()
    freeze_layers(encoder, 1)
    out = run(encoder)
    torch.testing.assert_close(out, before)
    out.square().sum().backward()
    layers = layers_of(encoder)
    assert all(p.grad is None for p in layers[0].parameters())
    assert all(p.grad is not None for layer in layers[1:] for p in layer.parameters())
    learning = {name for name, p in encoder.named_parameters() if p.requires_grad}
    prefix = "encoder.layers." if kind == "full" else "layers."
    beside = {n for n in learning if not n.startswith(prefix)}
    assert beside <= {"norm.weight", "norm.bias", "latent_norm.weight", "latent_norm.bias"}


@pytest.mark.parametrize("kind", ["rank", "latent", "full"])
def test_nothing_frozen_trains_every_weight_that_a_cells_vector_depends_on(kind):
    encoder = encoders()[kind].train()
    freeze_layers(encoder, 0)
    # Not the plain sum: that of a normalised vector does not depend on what came before.
    run(encoder).square().cumsum(-1).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


def test_gradients_of_the_trained_layers_are_those_of_an_unfrozen_encoder():
    free, frozen = rank_encoder().train(), rank_encoder().train()
    freeze_layers(frozen, 2)
    for encoder in (free, frozen):
        run(encoder).square().cumsum(-1).sum().backward()
    for mine, other in zip(frozen.layers[2].parameters(), free.layers[2].parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-6, rtol=1e-5)


def test_frozen_layers_keep_nothing_for_the_backward_pass():
    kept: list[int] = []

    def count(x):
        kept.append(x.numel())
        return x

    sizes = {}
    for k in (0, 2, 3):
        encoder = rank_encoder().train()
        freeze_layers(encoder, k)
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            run(encoder)
        sizes[k] = sum(kept)
    assert sizes[3] == 0
    assert 0 < sizes[2] < 0.4 * sizes[0]


def test_more_frozen_layers_than_there_are_is_an_error_with_both_numbers():
    with pytest.raises(SettingsError, match=r"--freeze-layers is 4, but the encoder has 3"):
        freeze_layers(rank_encoder(), 4)


@pytest.mark.parametrize("kind", ["rank", "latent", "full"])
def test_low_rank_starts_at_the_pretrained_weights_and_merges_into_a_plain_encoder(kind):
    encoder = encoders()[kind].eval()
    names = set(encoder.state_dict())
    before = run(encoder).detach()
    trained = add_lora(encoder, rank=2, alpha=4.0)
    torch.testing.assert_close(run(encoder), before)
    assert trained == sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("b_or"):
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    changed = run(encoder).detach()
    assert not torch.allclose(changed, before, atol=1e-3)
    merge_lora(encoder)
    assert set(encoder.state_dict()) == names
    torch.testing.assert_close(run(encoder), changed)


def test_low_rank_adds_the_product_that_the_paper_says():
    encoder = rank_encoder()
    weight = encoder.layers[0].up.weight.detach().clone()
    add_lora(encoder, rank=3, alpha=6.0)
    change = encoder.layers[0].up.parametrizations["weight"][0]
    with torch.no_grad():
        change.b_or.normal_()
    expected = weight + 6.0 / 3 * change.b_or @ change.a_ri
    torch.testing.assert_close(encoder.layers[0].up.weight, expected)
    assert torch.linalg.matrix_rank(encoder.layers[0].up.weight - weight, atol=1e-5) == 3


def test_low_rank_refuses_an_encoder_without_a_free_layer():
    encoder = rank_encoder()
    freeze_layers(encoder, 3)
    with pytest.raises(SettingsError, match="none of 3 is left"):
        add_lora(encoder)
    with pytest.raises(SettingsError, match="rank of --lora is 0"):
        add_lora(rank_encoder(), rank=0)


def test_a_head_started_at_a_logistic_regression_answers_as_it_does():
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (90, 5))
    codes = rng.integers(0, 3, 90)
    head = ClassHead(5, 3).eval()
    assert torch.equal(head(torch.randn(4, 5)), torch.zeros(4, 3))
    head.standardise(torch.from_numpy(x).float())
    scaled = (x - x.mean(0)) / x.std(0)
    probe = LogisticRegression().fit(scaled, codes)
    head.start(torch.from_numpy(probe.coef_).float(), torch.from_numpy(probe.intercept_).float())
    found = head(torch.from_numpy(x).float()).softmax(-1).detach().numpy()
    np.testing.assert_allclose(found, probe.predict_proba(scaled), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooled_vectors_are_plain_means_over_genes_or_the_first_token(pooling):
    encoder = rank_encoder().eval()
    lengths = [5, 0, 3]
    ids = torch.tensor([2, 9, 8, 7, 3, 2, 11, 3])
    model = RankClassifier(encoder, ClassHead(16, 2), pooling, [0, 1, 2, 3])
    hidden = encoder(ids, lengths)[0]
    first = hidden[0:5] if pooling == "cls" else hidden[1:4]
    last = hidden[5:8] if pooling == "cls" else hidden[6:7]
    expected = [
        first[0] if pooling == "cls" else first.mean(0),
        torch.zeros(16),
        last[0] if pooling == "cls" else last.mean(0),
    ]
    torch.testing.assert_close(model.vectors(ids, lengths), torch.stack(expected))


def test_a_classifier_of_tokens_reads_the_tokens_it_is_asked_for():
    encoder = rank_encoder().eval()
    ids = torch.arange(sum(LENGTHS)) + 4
    model = TokenClassifier(encoder, ClassHead(16, 2))
    at = torch.tensor([0, 9, 17])
    torch.testing.assert_close(model.vectors(ids, LENGTHS, at), encoder(ids, LENGTHS)[0][at])


def test_a_quick_copy_answers_alike_and_leaves_the_encoder_as_it_is():
    encoder = random_rank_encoder(replace(SHAPE, attention_dropout=0.1), 0).eval()
    before = copy.deepcopy(encoder.state_dict())
    made = quick_copy(encoder)
    torch.testing.assert_close(run(made), run(encoder))
    assert made.layers[0].shape.attention_dropout == 0.0
    assert encoder.layers[0].shape.attention_dropout > 0
    with torch.no_grad():
        made.tokens.weight.add_(1.0)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
