"""The rank encoder beside transformers' BERT, on every published shape, with every weight random."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from cellwright.errors import SettingsError
from cellwright.models.rank_encoder import (
    RankEncoder,
    RankShape,
    attend_inside,
    random_rank_encoder,
)
from cellwright.representations.geneformer_files import load_encoder, write_checkpoint

TOLERANCE = 1e-4
LENGTHS = [17, 3, 17, 40, 1]
# layers × width of the published checkpoints, with their heads; a short vocabulary.
PUBLISHED = [(6, 256, 4), (12, 512, 8), (20, 896, 14), (12, 768, 12), (18, 1152, 18)]


def peer(layers, width, heads, *, activation="relu", seed=0, **more):
    """transformers' model with random norms and biases too: its own start hides mixed-up ones."""
    config = BertConfig(
        vocab_size=90,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=width * (4 if width in (768, 1152) else 2),
        max_position_embeddings=64,
        hidden_act=activation,
        pad_token_id=0,
        **more,
    )
    torch.manual_seed(seed)
    model = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                offset = 1.0 if name.endswith("LayerNorm.weight") else 0.0
                parameter.copy_(offset + 0.2 * torch.randn_like(parameter))
    return model


def padded(ids_t, lengths):
    ids_nt = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    mask_nt = torch.zeros_like(ids_nt)
    for row, part in enumerate(ids_t.split(lengths)):
        ids_nt[row, : len(part)] = part
        mask_nt[row, : len(part)] = 1
    return ids_nt, mask_nt


def ours_of(model, folder):
    model.save_pretrained(folder)
    return load_encoder(folder)[0]


@pytest.fixture
def ids_t():
    return torch.from_numpy(np.random.default_rng(0).integers(1, 90, sum(LENGTHS)))


@pytest.mark.parametrize(("layers", "width", "heads"), PUBLISHED)
def test_hidden_states_and_logits_are_those_of_transformers(layers, width, heads, ids_t, tmp_path):
    theirs = peer(layers, width, heads, activation="relu" if width < 768 else "gelu")
    ids_nt, mask_nt = padded(ids_t, LENGTHS)
    with torch.no_grad():
        states = theirs.bert(ids_nt, attention_mask=mask_nt, output_hidden_states=True)
        logits = theirs.cls(states.last_hidden_state)[mask_nt.bool()]
    wanted = [state[mask_nt.bool()] for state in states.hidden_states]
    del states
    ours = ours_of(theirs, tmp_path)
    del theirs
    gc.collect()
    with torch.no_grad():
        found = ours(ids_t, LENGTHS, hidden_layers=range(layers + 1))
        for ours_td, theirs_td in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours_td, theirs_td, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(ours.logits(found[-1]), logits, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu"])
def test_every_activation(activation, ids_t, tmp_path):
    theirs = peer(2, 32, 4, activation=activation, layer_norm_eps=1e-5, type_vocab_size=3)
    ids_nt, mask_nt = padded(ids_t, LENGTHS)
    ours = ours_of(theirs, tmp_path)
    assert ours.shape.activation == activation and ours.shape.norm_eps == 1e-5
    with torch.no_grad():
        wanted = theirs.bert(ids_nt, attention_mask=mask_nt).last_hidden_state[mask_nt.bool()]
        torch.testing.assert_close(ours(ids_t, LENGTHS)[0], wanted, atol=1e-5, rtol=0)


def test_a_cell_alone_is_the_cell_in_company_and_order_does_not_matter(ids_t):
    model = small()
    parts = ids_t.split(LENGTHS)
    with torch.no_grad():
        together = model(ids_t, LENGTHS)[0].split(LENGTHS)
        order = [3, 0, 4, 2, 1]
        turned = model(torch.cat([parts[i] for i in order]), [LENGTHS[i] for i in order])[0]
        turned = turned.split([LENGTHS[i] for i in order])
        for place, i in enumerate(order):
            torch.testing.assert_close(turned[place], together[i], atol=1e-5, rtol=0)
            alone = model(parts[i], [LENGTHS[i]])[0]
            torch.testing.assert_close(alone, together[i], atol=1e-5, rtol=0)


def test_attention_is_softmax_inside_each_cell():
    torch.manual_seed(0)
    lengths = [4, 4, 0, 7]
    query, key, value = torch.randn(3, sum(lengths), 2, 8).double().unbind(0)
    found = attend_inside(query, key, value, lengths)
    for part in range(4):
        rows = slice(sum(lengths[:part]), sum(lengths[: part + 1]))
        weight = torch.einsum("qhd,khd->hqk", query[rows], key[rows]).div(8**0.5).softmax(-1)
        wanted = torch.einsum("hqk,khd->qhd", weight, value[rows])
        torch.testing.assert_close(found[rows], wanted, atol=1e-12, rtol=0)


def test_layers_above_the_one_asked_for_are_not_computed(ids_t):
    model = small()
    calls = []
    for number, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda *_, number=number: calls.append(number))
    with torch.no_grad():
        last, second = model(ids_t, LENGTHS, hidden_layers=(2, -2))
        assert calls == [0, 1]
        torch.testing.assert_close(last, second)
        (embedding,) = model(ids_t, LENGTHS, hidden_layers=[0])
    torch.testing.assert_close(embedding, model.embed(ids_t, LENGTHS))


def test_gradients_are_those_of_transformers(ids_t, tmp_path):
    theirs = peer(2, 32, 4, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    ours = ours_of(theirs, tmp_path).train()
    ids_nt, mask_nt = padded(ids_t, LENGTHS)
    theirs.bert(ids_nt, attention_mask=mask_nt).last_hidden_state[mask_nt.bool()].square()[
        :, :5
    ].sum().backward()
    ours(ids_t, LENGTHS)[0].square()[:, :5].sum().backward()
    attention = theirs.bert.encoder.layer[0].attention.self
    wanted = torch.cat([p.weight.grad for p in (attention.query, attention.key, attention.value)])
    torch.testing.assert_close(ours.layers[0].qkv.weight.grad, wanted, atol=1e-4, rtol=1e-4)
    wanted = theirs.bert.embeddings.word_embeddings.weight.grad
    torch.testing.assert_close(ours.tokens.weight.grad, wanted, atol=1e-4, rtol=1e-4)


def test_dropout_only_in_training_and_only_from_the_shape(ids_t):
    model = small(dropout=0.5, attention_dropout=0.5)
    with torch.no_grad():
        torch.testing.assert_close(model(ids_t, LENGTHS)[0], model(ids_t, LENGTHS)[0])
        model.train()
        assert not torch.equal(model(ids_t, LENGTHS)[0], model(ids_t, LENGTHS)[0])
        still = small(dropout=0.0, attention_dropout=0.0).train()
        torch.testing.assert_close(still(ids_t, LENGTHS)[0], still(ids_t, LENGTHS)[0])


def test_the_seed_makes_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = small(seed=3), small(seed=3), small(seed=4)
    assert torch.equal(before, torch.get_rng_state())
    weights = first.layers[0].qkv.weight.detach()
    assert torch.equal(weights, again.layers[0].qkv.weight)
    assert not torch.equal(weights, other.layers[0].qkv.weight)
    assert abs(float(weights.std()) - 0.02) < 0.002
    assert not first.layers[0].qkv.bias.any()
    assert all(bool((m.weight == 1).all()) for m in first.modules() if isinstance(m, nn.LayerNorm))


def test_a_written_checkpoint_is_loaded_with_equal_logits(ids_t, tmp_path):
    model = small(activation="gelu")
    write_checkpoint(tmp_path, model, {"pad_token_id": 0})
    theirs = BertForMaskedLM.from_pretrained(tmp_path).eval()
    ids_nt, mask_nt = padded(ids_t, LENGTHS)
    with torch.no_grad():
        wanted = theirs(ids_nt, attention_mask=mask_nt).logits[mask_nt.bool()]
        found = model.logits(model(ids_t, LENGTHS)[0])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert theirs.config.hidden_act == "gelu" and theirs.config.pad_token_id == 0


def test_what_does_not_fit_is_refused(ids_t):
    model = small(positions=39)
    with pytest.raises(SettingsError, match=r"40 tokens.*39 positions"):
        model(ids_t, LENGTHS)
    with pytest.raises(SettingsError, match=r"77.*78 tokens"):
        model(ids_t, [17, 3, 17, 39, 1])
    with pytest.raises(SettingsError, match=r"no layer 4.*3 layers"):
        model(ids_t, LENGTHS, hidden_layers=[4])
    with pytest.raises(SettingsError, match="no head"):
        random_rank_encoder(model.shape, 0, head=False).logits(torch.zeros(1, 32))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"width": 30}, r"width 30.*4 heads"),
        ({"activation": "mish"}, "'mish'.*relu"),
        ({"layers": 0}, "layers is 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
    ],
)
def test_shapes_that_cannot_be(changed, match):
    with pytest.raises(SettingsError, match=match):
        small(**changed)


def small(seed=0, **changed) -> RankEncoder:
    parts = {"tokens": 90, "width": 32, "layers": 3, "heads": 4, "feedforward": 48, "positions": 64}
    return random_rank_encoder(RankShape(**(parts | changed)), seed).eval()
