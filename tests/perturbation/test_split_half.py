"""Split-half retrieval: certain where conditions are far apart, chance where they are one."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest

from cellwright.data.screen_settings import screen_settings
from cellwright.data.simulated_screen import simulate_screen
from cellwright.errors import DataError
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.split_half import split_half
from cellwright.representations.expression import log_normalized


def hit_of(cells, **how):
    screen = read_screen(cells.obs, "condition")
    return split_half(log_normalized(cells.X), screen, **how)


def test_strong_conditions_find_themselves_and_equal_ones_at_chance(planted):
    found = split_half(planted.expression_ng, planted.screen, repeats=10)
    assert found.hit > 0.95
    assert found.chance == pytest.approx(1 / 20)
    assert (found.conditions, found.cells) == (20, 24)
    rng = np.random.default_rng(0)
    none = rng.normal(4, 1, planted.expression_ng.shape)
    assert split_half(none, planted.screen, repeats=40).hit == pytest.approx(0.05, abs=0.03)


def test_it_agrees_with_a_plain_reading_of_its_definition(planted):
    screen, x = planted.screen, planted.expression_ng
    control = x[screen.control_rows]
    scale = np.maximum(control.std(axis=0, ddof=1), 0.25 * np.median(control.std(axis=0, ddof=1)))
    rng = np.random.default_rng(7)
    one, other = [], []
    for code in range(len(screen.conditions)):
        rows = rng.permutation(screen.rows_of(code))
        one.append((x[rows[:12]].mean(axis=0) - control.mean(axis=0)) / scale)
        other.append((x[rows[12:]].mean(axis=0) - control.mean(axis=0)) / scale)
    one, other = (np.array(side) - np.mean(side, axis=0) for side in (one, other))
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in other] for a in one])
    truth = np.arange(len(one))
    wanted = ((cosine.argmax(axis=0) == truth).mean() + (cosine.argmax(axis=1) == truth).mean()) / 2
    assert split_half(x, screen, repeats=1, seed=7).hit == pytest.approx(wanted)


def test_the_simulated_panel_is_as_hard_as_the_real_one(real_data):
    path = real_data / "norman2019" / "norman2019_perturbench_counts.h5ad"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    assert hit_of(anndata.read_h5ad(path), repeats=10).hit == pytest.approx(0.38, abs=0.05)


def test_the_preset_matches_over_seeds():
    hits = [
        hit_of(simulate_screen(screen_settings("norman", seed=seed)), repeats=4).hit
        for seed in range(10)
    ]
    assert np.mean(hits) == pytest.approx(0.38, abs=0.05)
    assert np.std(hits) < 0.09


def test_what_cannot_be_halved_is_said(planted):
    labels = ["A", "A", "B", "control", "control"]
    few = read_screen(pd.DataFrame({"condition": labels}), min_cells=1)
    with pytest.raises(DataError, match="1 conditions have two cells"):
        split_half(np.ones((5, 3)), few)
    with pytest.raises(DataError, match="no gene varies"):
        split_half(np.ones_like(planted.expression_ng), planted.screen)
    without = replace(planted.screen, condition_n=np.maximum(planted.screen.condition_n, 0))
    with pytest.raises(DataError, match="no control cells"):
        split_half(planted.expression_ng, without)
