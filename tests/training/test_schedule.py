"""The learning rate against PyTorch's own scheduler, step by step."""

from __future__ import annotations

import pytest
import torch

from cellwright.training.schedule import learning_rate


@pytest.mark.parametrize("total", [10, 57, 1000])
@pytest.mark.parametrize("warmup", [0.15, 0.3, 0.5])
def test_one_cycle_is_that_of_pytorch(total, warmup):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=total, pct_start=warmup, cycle_momentum=False
    )
    for step in range(total):
        ours = learning_rate(step, total, peak=3e-3, warmup_share=warmup, kind="one-cycle")
        assert ours == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-15)
        optimizer.step()
        if step < total - 1:
            theirs.step()


def test_one_cycle_begins_at_a_25th_peaks_and_ends_at_a_250000th():
    rates = [
        learning_rate(step, 101, peak=1.0, warmup_share=0.2, kind="one-cycle")
        for step in range(101)
    ]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[-1] == pytest.approx(1 / 250_000)


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.15, 0.9])
def test_a_run_of_a_few_steps_has_rates_too(total, warmup):
    for step in range(total):
        rate = learning_rate(step, total, peak=1.0, warmup_share=warmup, kind="one-cycle")
        assert 0 < rate <= 1.0


def test_constant_is_the_peak():
    rates = {learning_rate(s, 9, peak=0.5, warmup_share=0.2, kind="constant") for s in range(9)}
    assert rates == {0.5}
