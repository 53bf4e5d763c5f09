"""The loop against a plain one, and against itself stopped and continued."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from cellwright.errors import Interrupted, RunError
from cellwright.training.batches import training_batches, validation_batches
from cellwright.training.loop import fit
from cellwright.training.masked_bins import MaskedBins, masked_loss, measure
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PretrainSettings

from .conftest import make_cells, make_encoder

SETTINGS = PretrainSettings(
    seed=3, epochs=4, batch_size=8, learning_rate=1e-2, precision="float32", mask_share=0.2
)
TRAIN, VAL = make_cells(30, seed=0), make_cells(12, seed=1)
STEPS = 4
"""Batches per epoch."""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def fitted(folder, settings=SETTINGS, train=TRAIN, val=VAL, dropout=0.3, **options):
    fabric = Fabric(accelerator="cpu", devices=1)
    model = make_encoder(settings.seed, dropout=dropout)
    return fit(model, objective(train, val, settings), settings, fabric, folder, **options)


def objective(train, val, settings):
    return MaskedBins(train, val, settings.mask_rule, settings.seed, settings.val_batch_size)


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def without_times(history):
    timed = ("seconds", "cells_per_second")
    return [{k: v for k, v in row.items() if k not in timed} for row in history]


def plainly(settings, train, val):
    """The same training without Fabric, checkpoints or a loop that can be entered in the middle."""
    model = make_encoder(settings.seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        settings.learning_rate,
        total_steps=settings.epochs * STEPS,
        pct_start=settings.warmup_share,
        cycle_momentum=False,
    )
    found = []
    for epoch in range(settings.epochs):
        losses, sizes = [], []
        model.train()
        for batch in training_batches(
            train, settings.mask_rule, batch_size=8, epoch=epoch, seed=settings.seed
        ):
            logits = model(batch.value_ids_ng, batch.hidden_ng, batch.targets_nm)
            loss = masked_loss(logits, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            losses.append(loss.item())
            sizes.append(len(batch.truth_nm))
            if epoch * STEPS + len(losses) < settings.epochs * STEPS:
                schedule.step()
        held = validation_batches(val, settings.mask_rule, batch_size=128, seed=settings.seed)
        measures = measure(model, held, torch.device("cpu"))
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found.append((np.average(losses, weights=sizes), measures, state))
    return found


def test_it_is_plain_training(folder):
    ours = fitted(folder, dropout=0.0)
    theirs = plainly(SETTINGS, TRAIN, VAL)
    assert len(ours.history) == len(theirs) == 4
    for number, (row, (train_loss, measures, _)) in enumerate(
        zip(ours.history, theirs, strict=True), start=1
    ):
        assert row["epoch"] == number
        assert row["train_loss"] == pytest.approx(train_loss, rel=1e-5)
        assert row["val_loss"] == pytest.approx(measures.loss, rel=1e-5)
        assert row["perplexity"] == pytest.approx(measures.perplexity, rel=1e-5)
        assert row["masked_accuracy"] == pytest.approx(measures.accuracy, abs=1e-9)
    best = int(np.argmin([measures.loss for _, measures, _ in theirs]))
    assert ours.best_epoch == best + 1
    for name, tensor in theirs[-1][2].items():
        torch.testing.assert_close(ours.last[name], tensor, rtol=0, atol=1e-5, msg=name)
    for name, tensor in theirs[best][2].items():
        torch.testing.assert_close(ours.best[name], tensor, rtol=0, atol=1e-5, msg=name)


def test_it_learns_what_was_planted(folder):
    """Seven genes in ten repeat the cell's level: no unigram knows, some epochs show it."""
    settings = replace(SETTINGS, epochs=25, batch_size=16)
    found = fitted(
        folder, settings, train=make_cells(256), val=make_cells(100, seed=1), dropout=0.0
    )
    # Who knows the level predicts the bins that are masked in cells of this level.
    many = make_cells(4000, seed=2)
    (batch,) = validation_batches(many, settings.mask_rule, batch_size=4000, seed=0)
    level_n = np.array([np.bincount(row, minlength=5).argmax() for row in many.bins_ng])
    truth_nm = batch.truth_nm.numpy()
    shares_lk = np.array([np.bincount(truth_nm[level_n == k].ravel()) for k in range(5)])
    shares_lk = shares_lk / shares_lk.sum(1, keepdims=True)
    optimum = np.exp(-np.log(shares_lk[level_n[:, None], truth_nm]).mean())
    frequencies_k = np.bincount(truth_nm.ravel()) / truth_nm.size
    unigram = np.exp(-np.log(frequencies_k[truth_nm]).mean())
    best = min(row["perplexity"] for row in found.history)
    assert unigram > 1.4 * optimum
    assert 0.95 * optimum < best < 1.1 * optimum


def test_the_best_weights_are_those_of_the_best_epoch(folder):
    settings = replace(SETTINGS, epochs=12, learning_rate=0.05, schedule="constant")
    found = fitted(folder, settings, train=make_cells(8))
    losses = [row["val_loss"] for row in found.history]
    assert found.best_epoch == int(np.argmin(losses)) + 1 < 12
    model = make_encoder()
    for weights, loss in ((found.best, min(losses)), (found.last, losses[-1])):
        model.load_state_dict(weights)
        held = validation_batches(VAL, settings.mask_rule, batch_size=5, seed=settings.seed)
        assert measure(model, held, torch.device("cpu")).loss == pytest.approx(loss, rel=1e-6)


def test_validation_chooses_and_does_nothing_else(folder, tmp_path):
    (tmp_path / "other").mkdir()
    one = fitted(folder)
    two = fitted(RunFolder(tmp_path / "other"), val=make_cells(9, seed=5))
    assert equal(one.last, two.last)
    assert [row["train_loss"] for row in one.history] == [row["train_loss"] for row in two.history]


def test_frozen_weights_stay_and_no_folder_is_needed():
    model = make_encoder(3, dropout=0.0)
    frozen = {name for name, _ in model.named_parameters() if name.startswith("layers.")}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = replace(SETTINGS, weight_decay=0.5)
    found = fit(
        model,
        objective(TRAIN, VAL, settings),
        settings,
        Fabric(accelerator="cpu", devices=1),
        None,
    )
    assert len(found.history) == 4
    changed = {name for name in before if not torch.equal(found.last[name], before[name])}
    assert frozen and changed == set(before) - frozen


def test_patience_ends_it_early(folder):
    settings = replace(SETTINGS, epochs=40, learning_rate=0.05, schedule="constant", patience=2)
    found = fitted(folder, settings, train=make_cells(8))
    assert found.stopped_early and len(found.history) == found.best_epoch + 2 < 40


def test_the_global_generator_is_left_alone(folder):
    before = torch.get_rng_state()
    fitted(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides_and_the_global_generator_does_not(folder, tmp_path):
    torch.manual_seed(1)
    one = fitted(folder)
    torch.manual_seed(2)
    (tmp_path / "two").mkdir()
    two = fitted(RunFolder(tmp_path / "two"))
    (tmp_path / "three").mkdir()
    three = fitted(RunFolder(tmp_path / "three"), replace(SETTINGS, seed=4))
    assert equal(one.last, two.last) and not equal(one.last, three.last)


def test_references_and_callbacks(folder):
    rows, steps = [], []
    found = fitted(
        folder,
        references={"ref_uniform": 5.0},
        on_epoch=rows.append,
        on_step=lambda progress, total: steps.append((progress.step, total)),
    )
    assert rows == found.history and all(row["ref_uniform"] == 5.0 for row in rows)
    assert steps == [(step, 4 * STEPS) for step in range(1, 4 * STEPS + 1)]
    written = folder.read_history()
    assert written.columns.tolist() == list(rows[0])
    np.testing.assert_array_equal(written["val_loss"], [row["val_loss"] for row in rows])
    assert all(row["seconds"] > 0 and row["cells_per_second"] > 0 for row in rows)


def stop_at(step, number):
    def on_step(progress, _total):
        if progress.step == step:
            os.kill(os.getpid(), number)

    return on_step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 6, 2 * STEPS])
def test_stopped_by_a_signal_it_continues_to_the_same_bits(folder, tmp_path, step, number):
    (tmp_path / "whole").mkdir()
    whole = fitted(RunFolder(tmp_path / "whole"))
    with pytest.raises(Interrupted, match=r"checkpoint is saved.*--resume continues") as caught:
        fitted(folder, on_step=stop_at(step, number))
    assert caught.value.exit_status == 128 + number
    torch.manual_seed(77)
    found = fitted(folder, resume=True)
    assert equal(found.last, whole.last) and equal(found.best, whole.best)
    assert without_times(found.history) == without_times(whole.history)


@pytest.mark.parametrize("steps", [(3,), (5, 7, 11), (1, 4, 9, 13, 15)])
def test_broken_off_anywhere_it_continues_to_the_same_bits(folder, tmp_path, steps):
    """Nothing is saved at the moment itself: it goes on from the last epoch, or the start."""
    (tmp_path / "whole").mkdir()
    whole = fitted(RunFolder(tmp_path / "whole"))

    def broken(at):
        def on_step(progress, _total):
            if progress.step == at:
                raise MemoryError

        return on_step

    for at in steps:
        with pytest.raises(MemoryError):
            fitted(folder, resume=True, on_step=broken(at))
    found = fitted(folder, resume=True)
    assert equal(found.last, whole.last) and equal(found.best, whole.best)
    assert without_times(found.history) == without_times(whole.history)


def test_killed_between_checkpoint_and_history_the_history_is_made_up_for(folder):
    fitted(folder)
    (folder.path / "history.csv").unlink()
    found = fitted(folder, resume=True)
    assert len(folder.read_history()) == len(found.history) == 4


def test_a_signal_in_the_last_epoch_lets_it_finish(folder):
    found = fitted(folder, on_step=stop_at(4 * STEPS, signal.SIGTERM))
    assert len(found.history) == 4


def test_a_loss_that_is_no_number_ends_it_in_one_sentence(folder):
    settings = replace(SETTINGS, learning_rate=1e30, schedule="constant", clip_norm=1e30)
    with pytest.raises(
        RunError, match=r"training (loss|gradient) became (nan|inf) in epoch 1.*1e\+30"
    ):
        fitted(folder, settings)


def test_half_precision_trains_about_as_well(folder, tmp_path):
    (tmp_path / "half").mkdir()
    full = fitted(folder, dropout=0.0)
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    model = make_encoder(SETTINGS.seed)
    half = fit(
        model, objective(TRAIN, VAL, SETTINGS), SETTINGS, fabric, RunFolder(tmp_path / "half")
    )
    for one, two in zip(full.history, half.history, strict=True):
        assert one["val_loss"] == pytest.approx(two["val_loss"], rel=0.02)
    assert all(tensor.dtype == torch.float32 for tensor in half.last.values())
