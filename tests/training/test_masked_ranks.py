"""The loss on ranks against a plain computation, and a model that learns what was planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional

from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.tokens.masking import cell_keys
from cellwright.tokens.rank_masking import RankMaskRule
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training import masked_ranks
from cellwright.training.batches import VALIDATION_EPOCH
from cellwright.training.loop import fit
from cellwright.training.masked_ranks import MaskedRankModel, MaskedRanks, example
from cellwright.training.ranked_batches import RankedCells, masked_batch
from cellwright.training.settings import PretrainSettings

GENES = 30
NAMES = np.array([f"g{i}" for i in range(GENES)])
VOCABULARY = RankVocabulary(
    gene_ids=NAMES,
    symbols=NAMES,
    medians_g=np.ones(GENES),
    token_ids_g=2 + np.arange(GENES),
    special={"<pad>": 0, "<mask>": 1},
)
RULE = RankMaskRule()


def _cells(n, seed=0, planted=False) -> RankedCells:
    """Random orders; planted: always the same order, from one of three starts."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(n):
        if planted:
            start = 10 * rng.integers(0, 3)
            parts.append(2 + (start + np.arange(20)) % GENES)
        else:
            parts.append(2 + rng.choice(GENES, rng.integers(4, 25), replace=False))
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    keys = cell_keys(f"{seed}-{i}" for i in range(n))
    return RankedCells(np.concatenate(parts).astype(np.int32), offsets, keys)


def _model(seed=0, dropout=0.0, **parts) -> MaskedRankModel:
    shape = RankShape(
        tokens=2 + GENES, width=16, layers=1, heads=2, feedforward=32, positions=32,
        dropout=dropout, attention_dropout=0.0, initial_std=0.12, **parts,
    )  # fmt: skip
    return MaskedRankModel(random_rank_encoder(shape, seed))


@pytest.fixture
def batch():
    cells = _cells(9)
    return masked_batch(cells, np.arange(9), RULE, VOCABULARY, epoch=0, seed=0)


def test_the_loss_in_parts_equals_the_plain_one_and_so_does_its_gradient(batch, monkeypatch):
    model = _model()
    (hidden,) = model.encoder(batch.ids_t, batch.lengths_n)
    plain = functional.cross_entropy(model.encoder.logits(hidden[batch.targets_m]), batch.truth_m)
    plain.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    monkeypatch.setattr(masked_ranks, "_SCORES", 3 * (2 + GENES))
    objective = MaskedRanks(_cells(9), _cells(4, 1), VOCABULARY, RULE, seed=0)
    loss = objective.loss(model, batch)
    loss.backward()
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-7)


def test_the_measures_against_each_cell_by_itself(monkeypatch):
    cells, model = _cells(13, 2), _model(3, dropout=0.4)
    model.train()
    objective = MaskedRanks(_cells(2), cells, VOCABULARY, RULE, seed=5, val_batch_size=4)
    monkeypatch.setattr(masked_ranks, "_SCORES", 3 * (2 + GENES))
    found = objective.measured(model, cells, torch.device("cpu"))
    assert model.encoder.training
    model.eval()
    hidden, right = [], []
    for n in range(13):
        one = masked_batch(cells, np.array([n]), RULE, VOCABULARY, VALIDATION_EPOCH, 5)
        with torch.no_grad():
            (states,) = model.encoder(one.ids_t, one.lengths_n)
            p = model.encoder.logits(states[one.targets_m]).double().softmax(-1)
        truth = p.gather(1, one.truth_m[:, None])[:, 0]
        assert found.nll_n[n] == pytest.approx(-truth.log().sum().item(), rel=1e-5)
        others = np.setdiff1d(np.arange(len(one.ids_t)), one.targets_m)
        left = 1 - p[:, one.ids_t[others]].sum(1)
        assert found.free_nll_n[n] == pytest.approx(-(truth / left).log().sum().item(), rel=1e-4)
        assert found.places_n[n] == len(one.targets_m)
        masked = one.ids_t[one.targets_m] == 1
        hidden += (-truth.log()[masked]).tolist()
        right += (p.argmax(1) == one.truth_m).tolist()
    assert found.hidden_perplexity == pytest.approx(math.exp(np.mean(hidden)), rel=1e-5)
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.perplexity == pytest.approx(math.exp(found.nll_n.sum() / found.places_n.sum()))
    columns = objective.measure(model, torch.device("cpu"))
    assert columns["val_loss"] == pytest.approx(found.loss)


def test_that_a_fresh_model_is_a_blind_guess():
    objective = MaskedRanks(_cells(2), _cells(30, 7), VOCABULARY, RULE, seed=0)
    model = _model()
    with torch.no_grad():
        model.encoder.tokens.weight.zero_()
    assert objective.measure(model, torch.device("cpu"))["perplexity"] == pytest.approx(2 + GENES)


def test_that_the_loop_learns_an_order_that_was_planted():
    """The place of a gene and those around it tell it; its place alone leaves three."""
    train, val = _cells(300, 1, planted=True), _cells(60, 2, planted=True)
    objective = MaskedRanks(train, val, VOCABULARY, RULE, seed=0)
    settings = PretrainSettings(epochs=20, batch_size=10, learning_rate=5e-3)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    found = fit(_model(), objective, settings, fabric, None)
    assert found.history[0]["perplexity"] > 10
    assert found.history[-1]["hidden_perplexity"] < 1.6


def test_the_example_names_the_likeliest_tokens(batch):
    model = _model()
    rows = example(model.encoder, batch, top=2)
    first = int((batch.cells_m == 0).sum())
    assert len(rows) == first
    for (truth, shown, top), place in zip(rows, batch.targets_m, strict=False):
        assert shown == int(batch.ids_t[place])
        assert truth in VOCABULARY.token_ids_g
        assert top[0][1] >= top[1][1]
