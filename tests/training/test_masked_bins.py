"""The loss and its measures against a plain loop over cells and genes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cellwright.models.build import EncoderSettings, build_encoder
from cellwright.tokens.masking import MaskRule
from cellwright.training.batches import BinnedCells, training_batches, validation_batches
from cellwright.training.masked_bins import example, masked_loss, measure

RULE = MaskRule(0.2, 0.5, "bin")
CPU = torch.device("cpu")


def held(cells, batch_size=8):
    return list(validation_batches(cells, RULE, batch_size=batch_size, seed=0))


def plain(model, batches):
    """Per masked position: loss, whether the likeliest bin is the true one, and the true bin."""
    model.eval()
    found = []
    for batch in batches:
        with torch.no_grad():
            logits = model(batch.value_ids_ng, batch.hidden_ng, batch.targets_nm).double().numpy()
        for cell in range(logits.shape[0]):
            for m in range(logits.shape[1]):
                row, truth = logits[cell, m], int(batch.truth_nm[cell, m])
                log_sum = math.log(sum(math.exp(value) for value in row))
                found.append((log_sum - row[truth], row.argmax() == truth, truth))
    return [np.array(column) for column in zip(*found, strict=True)]


def test_measures_equal_a_plain_loop(cells, encoder):
    loss_m, right_m, truth_m = plain(encoder, held(cells))
    found = measure(encoder, held(cells), CPU)
    assert found.positions == len(loss_m) == 37 * RULE.n_masked(24)
    assert found.loss == pytest.approx(loss_m.mean(), abs=1e-12)
    assert found.perplexity == pytest.approx(np.exp(loss_m.mean()), rel=1e-12)
    assert found.bits_per_gene == pytest.approx(loss_m.mean() / np.log(2), rel=1e-12)
    assert found.accuracy == right_m.mean()
    assert found.zero_accuracy == right_m[truth_m == 0].mean()
    assert found.nonzero_accuracy == right_m[truth_m != 0].mean()
    np.testing.assert_allclose(found.nll_n, loss_m.reshape(37, -1).mean(1), atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 5, 37])
def test_measures_do_not_depend_on_the_batch_size(cells, encoder, batch_size):
    """A mean of batch means would: the last batch is smaller."""
    one, other = (measure(encoder, held(cells, size), CPU) for size in (8, batch_size))
    assert one.perplexity == pytest.approx(other.perplexity, rel=1e-6)
    assert one.accuracy == pytest.approx(other.accuracy, abs=1e-12)


def test_a_kind_that_does_not_occur_has_no_accuracy(cells, encoder):
    some = BinnedCells(np.maximum(cells.bins_ng, 1), None, cells.keys_n)
    found = measure(encoder, held(some), CPU)
    assert math.isnan(found.zero_accuracy) and found.nonzero_accuracy == found.accuracy


def test_measuring_leaves_the_model_as_it_was(cells, encoder):
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    for training in (True, False):
        encoder.train(training)
        measure(encoder, held(cells), CPU)
        assert encoder.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_measuring_is_in_float32_without_dropout(cells):
    model = build_encoder(
        EncoderSettings(size="tiny", dropout=0.5), torch.full((24, 5), 0.2).log(), 0
    )
    torch.nn.init.normal_(model.head.weight)
    outside = measure(model, held(cells), CPU)
    with torch.autocast("cpu", torch.bfloat16):
        inside = measure(model, held(cells), CPU)
    np.testing.assert_array_equal(inside.nll_n, outside.nll_n)


def test_the_loss_is_the_mean_over_the_masked_positions(cells, encoder):
    encoder.eval()
    (batch,) = training_batches(cells, RULE, batch_size=37, epoch=0, seed=0)
    logits = encoder(batch.value_ids_ng, batch.hidden_ng, batch.targets_nm)
    loss_m, _, _ = plain(encoder, [batch])
    assert masked_loss(logits, batch).item() == pytest.approx(loss_m.mean(), rel=1e-6)


def test_the_example_is_the_first_cell_with_its_likeliest_bins(cells, encoder):
    batch = held(cells)[0]
    rows = example(encoder, batch)
    with torch.no_grad():
        logits = encoder(batch.value_ids_ng, batch.hidden_ng, batch.targets_nm)[0].double()
    probability_mk = (logits.exp() / logits.exp().sum(1, keepdim=True)).numpy()
    assert [row["column"] for row in rows] == batch.targets_nm[0].tolist()
    assert [row["true_bin"] for row in rows] == batch.truth_nm[0].tolist()
    for row, probability_k in zip(rows, probability_mk, strict=True):
        order = np.argsort(-probability_k)[:3]
        assert [k for k, _ in row["top"]] == order.tolist()
        np.testing.assert_allclose([p for _, p in row["top"]], probability_k[order], atol=1e-4)
