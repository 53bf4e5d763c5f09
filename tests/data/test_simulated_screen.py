"""Simulated screens: the law of the counts, what doubles do, what a preset promises."""

from __future__ import annotations

import dataclasses
import json

import anndata
import numpy as np
import pytest

from cellwright.data.screen_settings import ScreenSettings, screen_settings
from cellwright.data.screen_truth import plant_screen
from cellwright.data.simulated_screen import simulate_screen, simulate_screen_to_file, truth_of
from cellwright.errors import DataError, RunError, SettingsError


@pytest.fixture(scope="module")
def plain():
    """Full efficiency and no variation between cells beyond the law of counts."""
    settings = ScreenSettings(
        targets=4, doubles=6, genes=60, cells=1500, controls=3000, batches=2, efficiency=1.0,
        cell_spread=0.0, interacting=0.0, counts_per_gene=5.0, seed=4,
    )  # fmt: skip
    return simulate_screen(settings)


def counts_of(cells, condition):
    return cells.X[(cells.obs["condition"] == condition).to_numpy()].toarray().astype(float)


def test_control_cells_have_the_stated_mean_and_variance(plain):
    truth = truth_of(plain)
    control = (plain.obs["condition"] == "control").to_numpy()
    x = plain.X[control].toarray().astype(float)
    depth_n = plain.obs["truth_depth"].to_numpy()[control]
    batch_n = plain.obs["batch"].str.removeprefix("batch_").astype(int).to_numpy()[control] - 1
    mean_ng = depth_n[:, None] * truth.share_g * np.exp(truth.batch_bg[batch_n])
    variance_ng = mean_ng + mean_ng**2 / truth.theta_g
    surprise_g = (x - mean_ng).sum(axis=0) / np.sqrt(variance_ng.sum(axis=0))
    assert np.abs(surprise_g).max() < 4.5
    ratio = ((x - mean_ng) ** 2 / variance_ng).mean()
    assert ratio == pytest.approx(1, abs=0.05)
    assert depth_n.mean() == pytest.approx(truth.depth, rel=0.03)


def test_folds_are_the_planted_ones_and_add_up_in_doubles(plain):
    truth = truth_of(plain)
    base_g = counts_of(plain, "control").mean(axis=0)
    seen = base_g > 1
    for targets in truth.conditions[1:]:
        fold_g = truth.log_fold(targets)
        np.testing.assert_allclose(fold_g, truth.effect_tg[list(targets)].sum(axis=0), atol=1e-12)
        found_g = np.log(counts_of(plain, truth.name(targets)).mean(axis=0) / base_g)
        assert np.abs(found_g - fold_g)[seen].max() < 0.25
        assert np.corrcoef(found_g[seen], fold_g[seen])[0, 1] > 0.98


def test_guides_act_as_often_as_they_should():
    cells = simulate_screen(ScreenSettings(cells=400, efficiency=0.6, seed=2))
    truth = truth_of(cells)
    singles = cells.obs[~cells.obs["condition"].str.contains(r"\+|control")]
    acts = singles["truth_acting"] == singles["condition"]
    assert set(singles["truth_acting"]) == set(singles["condition"]) | {""}
    assert truth.efficiency_tu.mean() == pytest.approx(0.6, abs=0.08)
    for t, name in enumerate(truth.names_t):
        for u in range(2):
            here = (singles["guide"] == f"{name}_{u + 1}").to_numpy()
            wanted = truth.efficiency_tu[t, u]
            error = np.sqrt(wanted * (1 - wanted) / here.sum())
            assert abs(acts[here].mean() - wanted) < 4 * error + 1e-9


def test_interactions_differ_from_the_sum_and_are_fixed_for_a_pair():
    truth = plant_screen(screen_settings("plain", interacting=1.0, seed=3))
    kinds = set()
    for a in range(6):
        for b in range(a):
            kind, fold_g = truth.interaction(a, b), truth.log_fold((a, b))
            kinds.add(kind)
            np.testing.assert_array_equal(fold_g, truth.log_fold((b, a)))
            sum_g = truth.effect_tg[a] + truth.effect_tg[b]
            assert not np.allclose(fold_g, sum_g)
            own = truth.own_t[[a, b]]
            np.testing.assert_allclose(fold_g[own], sum_g[own])
            others = np.delete(np.arange(1000), own)
            if kind == "synergy":
                np.testing.assert_allclose(fold_g[others], 1.4 * sum_g[others])
            if kind == "buffering":
                np.testing.assert_allclose(fold_g[others], 0.6 * sum_g[others])
    assert kinds == {"synergy", "buffering", "epistasis", "neomorphic"}
    sums = plant_screen(screen_settings("plain", interacting=0.0))
    assert {sums.interaction(0, b) for b in range(1, 20)} == {"additive"}


def test_cells_of_a_condition_do_not_depend_on_the_doubles_beside_them():
    few, many = (simulate_screen(ScreenSettings(doubles=n, cells=5, controls=8)) for n in (2, 9))
    for cells in (few, many):
        assert cells.obs_names.is_unique
    shared = sorted(set(few.obs["condition"]) & set(many.obs["condition"]))
    assert len(shared) >= 21
    for condition in shared:
        np.testing.assert_array_equal(counts_of(few, condition), counts_of(many, condition))


def test_own_genes_are_measured_raised_or_lowered_as_asked():
    up = plant_screen(screen_settings("plain", own_measured=0.5, own_fold=1.5))
    down = plant_screen(screen_settings("plain", own_measured=0.5, kind="interference"))
    for truth, sign in ((up, 1.5), (down, -2.0)):
        measured = np.flatnonzero(truth.own_t >= 0)
        assert len(measured) == 10
        for t in measured:
            assert truth.effect_tg[t, truth.own_t[t]] == sign
            assert truth.symbols_g[truth.own_t[t]] == truth.names_t[t]
    assert len(set(up.names_t)) == 20
    assert len(set(up.names_t) & set(up.symbols_g)) == 10


def test_without_strength_nothing_moves():
    truth = plant_screen(screen_settings("norman", strength=0.0, own_fold=0.0, interacting=1.0))
    assert all(not truth.log_fold(targets).any() for targets in truth.conditions)


def test_the_panel_of_the_preset_is_like_the_real_one(real_data):
    path = real_data / "norman2019" / "norman2019_perturbench_counts.h5ad"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    real, made = anndata.read_h5ad(path), simulate_screen("norman")
    totals = [np.asarray(x.X.sum(axis=1)).ravel() for x in (real, made)]
    assert np.median(totals[1]) == pytest.approx(np.median(totals[0]), rel=0.2)
    nonzero = [x.X.nnz / x.n_obs for x in (real, made)]
    assert nonzero[1] == pytest.approx(nonzero[0], rel=0.35)
    held = [
        np.sort(np.asarray(x.X.sum(axis=0)).ravel())[-4:].sum() / x.X.sum() for x in (real, made)
    ]
    assert held[1] == pytest.approx(held[0], abs=0.1)
    assert made.shape == (3400, 500)


def test_the_same_settings_give_the_same_screen_and_the_file_holds_it(tmp_path):
    settings = screen_settings("norman", cells=6, controls=10, seed=5)
    told = []
    obs = simulate_screen_to_file(tmp_path / "s.h5ad", settings, progress=told.append)
    again, read = simulate_screen(settings), anndata.read_h5ad(tmp_path / "s.h5ad")
    assert sum(told) == len(obs) == 33 * 6 + 10
    assert (read.X != again.X).nnz == 0
    assert list(read.obs["guide"]) == list(again.obs["guide"])
    assert truth_of(read).settings == settings
    assert json.loads(read.uns["truth"])["settings"] == dataclasses.asdict(settings)
    other = simulate_screen(dataclasses.replace(settings, seed=6))
    assert (other.X != again.X).nnz > 0
    with pytest.raises(RunError, match=r"s\.h5ad exists already"):
        simulate_screen_to_file(tmp_path / "s.h5ad", settings)
    with pytest.raises(SettingsError, match=r"s\.zarr is a \.zarr"):
        simulate_screen_to_file(tmp_path / "s.zarr", settings)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"targets": 1}, "targets is 1, expected at least 2"),
        ({"targets": 3, "doubles": 4}, "doubles is 4, but 3 targets make only 3 pairs"),
        ({"efficiency": 1.2}, "efficiency is 1.2, expected a share"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"theta": 0}, "theta is 0, expected a number above 0"),
        ({"genes": 30, "targets": 40}, "targets is 40, expected at most as many as genes, 30"),
        ({"kind": "knockout"}, "kind is 'knockout'"),
        ({"programs": 0}, "programs is 0"),
        ({"strenght": 1.0}, "'strenght' of a screen: did you mean 'strength'"),
    ],
)
def test_settings_that_cannot_work_are_named(changed, said):
    with pytest.raises(SettingsError, match=said):
        screen_settings("plain", **changed)


def test_an_unknown_preset_and_cells_that_are_no_screen_are_refused():
    with pytest.raises(SettingsError, match="no preset 'norma': did you mean 'norman'"):
        simulate_screen("norma")
    with pytest.raises(DataError, match="no screen simulated here"):
        truth_of(anndata.AnnData(np.ones((2, 2))))
