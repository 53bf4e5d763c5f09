"""Fine-tuning on cells and genes with a planted order, beside plain definitions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from cellwright.errors import DataError
from cellwright.models.heads import ClassHead, RankClassifier
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.training.finetuning import finetune_cells, finetune_genes
from cellwright.training.labelled import (
    CellLabels,
    RankTokens,
    answers,
    class_weights,
    weighted_loss,
)
from cellwright.training.token_labels import IGNORED, TokenLabels, gene_probability

TOKENS, CLASSES = 44, 2
SHAPE = RankShape(tokens=TOKENS, width=16, layers=2, heads=2, feedforward=24, positions=30)
QUICK = {"precision": "float32", "accelerator": "cpu", "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def encoder():
    return random_rank_encoder(SHAPE, 0)


@pytest.fixture(scope="module")
def planted():
    """Cells whose class says which half of the genes they hold mostly: classes, tokens."""
    rng = np.random.default_rng(0)
    codes_n = rng.integers(0, CLASSES, 90)
    cells = []
    for code in codes_n:
        own = rng.choice(np.arange(4 + 20 * code, 24 + 20 * code), 10, replace=False)
        other = rng.choice(np.arange(24 - 20 * code, 44 - 20 * code), 5, replace=False)
        cells.append(rng.permutation(np.r_[own, other]))
    offsets_n = np.r_[0, np.cumsum([len(cell) for cell in cells])]
    return codes_n, RankTokens(np.concatenate(cells).astype(np.int32), offsets_n)


def classifier(encoder):
    return RankClassifier(encoder, ClassHead(16, CLASSES, 0.0), "mean", [0, 1, 2, 3])


@pytest.mark.parametrize("how", [{}, {"freeze_layers": 1}, {"lora_rank": 2}])
def test_fine_tuning_learns_a_planted_class_and_leaves_the_encoder_as_it_was(encoder, planted, how):
    codes_n, tokens = planted
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    settings = FinetuneSettings(epochs=4, **QUICK, **how)
    fitted = finetune_cells(
        classifier(encoder), tokens, codes_n, np.arange(50), np.arange(50, 65), settings
    )
    test = np.arange(65, 90)
    probability_mk = fitted.probability(tokens, test)
    np.testing.assert_allclose(probability_mk.sum(axis=1), 1.0, atol=1e-6)
    assert (probability_mk.argmax(axis=1) == codes_n[test]).mean() > 0.75
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    losses = [row["val_loss"] for row in fitted.history]
    assert fitted.best_epoch == int(np.argmin(losses))
    assert set(fitted.model.encoder.state_dict()) == set(before)


def test_labels_outside_train_and_validation_change_nothing(encoder, planted):
    codes_n, tokens = planted
    settings = FinetuneSettings(epochs=1, **QUICK)
    wrong_n = codes_n.copy()
    wrong_n[65:] = 1 - wrong_n[65:]
    found = [
        finetune_cells(
            classifier(encoder), tokens, given, np.arange(50), np.arange(50, 65), settings
        ).probability(tokens)
        for given in (codes_n, wrong_n)
    ]
    np.testing.assert_array_equal(*found)


def test_answers_come_in_the_order_of_the_rows_whatever_the_lengths(encoder):
    rng = np.random.default_rng(1)
    cells = [rng.permutation(np.arange(4, TOKENS))[:n] for n in (3, 20, 7, 20, 11)]
    offsets_n = np.r_[0, np.cumsum([len(cell) for cell in cells])]
    tokens = RankTokens(np.concatenate(cells).astype(np.int32), offsets_n)
    model = classifier(encoder)
    torch.nn.init.normal_(model.head.linear.weight)
    rows = np.array([4, 1, 0, 2])
    together = answers(model, tokens, rows, torch.device("cpu"))
    with torch.no_grad():
        model.eval()
        alone = [model(torch.from_numpy(cells[r].astype(np.int64)), [len(cells[r])]) for r in rows]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_an_epoch_holds_every_training_cell_once_and_processes_share_its_batches(encoder, planted):
    codes_n, tokens = planted
    train = np.arange(10, 50)
    objective = CellLabels(tokens, codes_n, train, train[:0], np.ones(CLASSES))
    whole = list(objective.training_batches(batch_size=16, epoch=2, seed=3))
    assert [len(batch.codes_m) for batch in whole] == [16, 16, 8]
    held = np.concatenate([np.sort(batch.inputs[1]) for batch in whole])
    np.testing.assert_array_equal(np.sort(held), np.sort(tokens.lengths_n[train]))
    halves = [
        list(objective.training_batches(batch_size=16, epoch=2, seed=3, rank=rank, world=2))
        for rank in (0, 1)
    ]
    for one, first, second in zip(whole, *halves, strict=True):
        assert first.share + second.share == pytest.approx(1.0)
        both = torch.cat([first.codes_m, second.codes_m])
        assert torch.equal(both.bincount(minlength=2), one.codes_m.bincount(minlength=2))


def test_class_weights_are_scikit_learns_and_the_loss_weighs_with_them():
    codes = np.array([0, 0, 0, 1, 2, 2])
    weight_k = class_weights(codes, 3, "balanced")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=codes)
    np.testing.assert_allclose(weight_k, expected)
    np.testing.assert_array_equal(class_weights(codes, 3, None), np.ones(3))
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    plain = functional.cross_entropy(logits, torch.from_numpy(codes), reduction="none").numpy()
    found = weighted_loss(logits, torch.from_numpy(codes), weight_k)
    assert float(found) == pytest.approx(float((plain * weight_k[codes]).mean()), rel=1e-5)


def test_gene_probabilities_are_means_over_the_cells_that_hold_the_gene(encoder, planted):
    _, tokens = planted
    run = SimpleNamespace(model=encoder)
    label_v = np.full(TOKENS, IGNORED)
    label_v[4:14], label_v[24:34] = 0, 1
    fitted = finetune_genes(run, tokens, label_v, 2, FinetuneSettings(epochs=1, **QUICK))
    found_vk = fitted.gene_probability(tokens)
    assert found_vk.shape == (TOKENS, 2)
    assert np.isnan(found_vk[:4]).all()
    gene, single = 10, []
    for row in range(len(tokens)):
        ids, lengths = tokens.inputs(np.array([row]))
        at = torch.nonzero(ids == gene).squeeze(1)
        if len(at):
            with torch.no_grad():
                single.append(fitted.model(ids, lengths, at).softmax(-1).double().numpy()[0])
    np.testing.assert_allclose(found_vk[gene], np.mean(single, axis=0), atol=1e-6)
    asked = gene_probability(fitted.model, tokens, torch.device("cpu"), wanted=label_v >= 0)
    assert np.isnan(asked[40]).all()
    np.testing.assert_allclose(asked[gene], found_vk[gene], atol=1e-6)


def test_the_loss_of_genes_is_taken_at_the_labelled_tokens_only(encoder, planted):
    _, tokens = planted
    label_v = np.full(TOKENS, IGNORED)
    label_v[[5, 30]] = [0, 1]
    cells = np.arange(20)
    objective = TokenLabels(tokens, label_v, label_v, cells, cells, np.ones(2))
    seen = 0
    for batch in objective.training_batches(batch_size=8, epoch=0, seed=0):
        ids, _, at = batch.inputs
        assert set(ids[at].tolist()) <= {5, 30}
        np.testing.assert_array_equal(batch.codes_m.numpy(), label_v[ids[at].numpy()])
        seen += len(at)
    first = tokens.ids_t[: tokens.offsets_n[20]]
    assert seen == np.isin(first, [5, 30]).sum()


def test_genes_of_one_class_in_the_cells_are_refused(encoder, planted):
    _, tokens = planted
    label_v = np.full(TOKENS, IGNORED)
    label_v[4:14] = 0
    with pytest.raises(DataError, match="hold genes of 1 of the 2 classes"):
        finetune_genes(SimpleNamespace(model=encoder), tokens, label_v, 2, FinetuneSettings())
