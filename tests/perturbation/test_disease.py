"""Simulated disease: who changes, by how much, and what does not give the state away."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.disease import DiseaseSettings, Program, simulate_disease

UP, DOWN = np.arange(10), np.arange(10, 30)


def tissue(n=3000, genes=120, seed=0):
    """Two types of cells, gene shares of their own, shape 2, library sizes that vary fivefold."""
    rng = np.random.default_rng(seed)
    types = rng.choice(["a", "b"], n, p=[0.7, 0.3])
    share = {t: rng.dirichlet(np.full(genes, 3.0)) for t in ("a", "b")}
    depth = rng.uniform(800, 4000, n)
    mean = np.stack([share[t] for t in types]) * depth[:, None]
    return sp.csr_matrix(rng.poisson(rng.gamma(2.0, mean / 2.0))), types


PROGRAMS = (Program("up", UP, 3.0), Program("down", DOWN, 0.4))


def test_each_base_cell_is_in_one_state_and_types_are_balanced():
    counts, types = tissue()
    found = simulate_disease(counts, types, PROGRAMS, DiseaseSettings(doses=(0.25, 1.0)))
    assert np.array_equal(found.base_m, np.arange(3000))
    for kind in ("a", "b"):
        states, sizes = np.unique(found.state_m[types == kind], return_counts=True)
        assert states.tolist() == ["down", "normal", "up"] and np.ptp(sizes) <= 1
    for state in ("up", "down"):
        doses, sizes = np.unique(found.dose_m[found.state_m == state], return_counts=True)
        assert doses.tolist() == [0.25, 1.0] and np.ptp(sizes) <= 2
    normal = found.state_m == "normal"
    assert (found.dose_m[normal] == 0).all() and not found.shown_m[normal].any()
    assert (found.counts_mg[normal] != counts[normal]).nnz == 0
    assert found.counts_mg.has_canonical_format and (found.counts_mg.data > 0).all()


@pytest.mark.parametrize("dose", [0.5, 1.0])
def test_genes_change_by_the_fold_to_the_dose_and_others_do_not(dose):
    counts, types = tissue(6000)
    found = simulate_disease(
        counts, types, PROGRAMS, DiseaseSettings(doses=(dose,), paired=True, seed=3)
    )
    assert len(found.base_m) == 18_000
    other = np.arange(30, 120)
    for state, columns, fold in (("up", UP, 3.0), ("down", DOWN, 0.4)):
        rows = found.state_m == state
        got = found.counts_mg[rows][:, columns].sum(axis=0) / counts[:, columns].sum(axis=0)
        assert np.asarray(got).ravel() == pytest.approx(fold**dose, rel=0.08)
        assert (found.counts_mg[rows][:, other] != counts[:, other]).nnz == 0


def test_the_law_of_a_gene_that_goes_up_is_that_of_a_tissue_that_has_more_of_it():
    """Against cells drawn from the target law, in one type and at one depth: Kolmogorov-Smirnov."""
    rng = np.random.default_rng(5)
    n, mean = 8000, 4.0
    rest = np.full((n, 1), 996)
    x = rng.poisson(rng.gamma(1.5, mean / 1.5, (n, 1)))
    counts = sp.csr_matrix(np.c_[x, rest - x + 4])
    program = Program("up", np.array([0]), 2.5)
    found = simulate_disease(
        counts, np.full(n, "a"), [program], DiseaseSettings(paired=True, seed=1)
    )
    got = found.counts_mg[found.state_m == "up"][:, [0]].toarray().ravel()
    target = rng.poisson(rng.gamma(1.5, 2.5 * mean / 1.5, n))
    assert stats.ks_2samp(got, target).pvalue > 0.01
    naive = x.ravel() + rng.poisson(1.5 * x.ravel())
    assert stats.ks_2samp(naive, target).pvalue < 1e-6


def test_fold_one_changes_nothing_that_can_be_found():
    counts, types = tissue(2000)
    same = (Program("up", UP, 1.0), Program("down", DOWN, 1.0))
    found = simulate_disease(counts, types, same)
    assert (found.counts_mg != counts).nnz == 0


def auc_of_depth(found):
    depth = np.log(np.asarray(found.counts_mg.sum(axis=1)))
    sick = found.state_m != "normal"
    flat = LogisticRegression(class_weight="balanced")
    return cross_val_score(flat, depth, sick, scoring="roc_auc", cv=5).mean()


def test_depth_gives_the_state_away_unless_it_is_kept():
    rng = np.random.default_rng(0)
    # Library sizes all alike, so that a change of a hundred counts shows.
    counts = sp.csr_matrix(rng.multinomial(2000, np.full(120, 1 / 120), 3000))
    types = np.full(3000, "a")
    programs = (Program("up", UP, 3.0), Program("down", DOWN, 0.4))
    plain = simulate_disease(counts, types, programs[:1])
    kept = simulate_disease(counts, types, programs[:1], DiseaseSettings(keep_depth=True))
    assert auc_of_depth(plain) > 0.95 and abs(auc_of_depth(kept) - 0.5) < 0.05
    both = simulate_disease(
        counts, types, programs, DiseaseSettings(keep_depth=True, doses=(0.5, 1.0), seed=4)
    )
    depth = np.asarray(both.counts_mg.sum(axis=1)).ravel()
    of = {s: depth[both.state_m == s] for s in ("normal", "up", "down")}
    for state in ("up", "down"):
        assert stats.ks_2samp(of[state], of["normal"]).pvalue > 0.01
    assert (depth <= 2000).all()
    # What is kept is the depth, not the programs away.
    part = np.asarray(both.counts_mg[:, UP].sum(axis=1)).ravel() / depth
    assert part[both.state_m == "up"].mean() > 1.5 * part[both.state_m == "normal"].mean()


def test_penetrance_and_types_that_cannot_show_it():
    counts, types = tissue(4000)
    found = simulate_disease(
        counts,
        types,
        PROGRAMS,
        DiseaseSettings(penetrance=0.7),
        can_show_n=types == "a",
    )
    sick = found.state_m != "normal"
    assert not found.shown_m[types == "b"].any()
    share = found.shown_m[sick & (types == "a")].mean()
    assert abs(share - 0.7) < 0.05
    assert (found.counts_mg[~found.shown_m] != counts[~found.shown_m]).nnz == 0


def test_the_same_seed_gives_the_same_cells():
    counts, types = tissue(500)
    one, two, other = (
        simulate_disease(counts, types, PROGRAMS, DiseaseSettings(seed=s, keep_depth=True))
        for s in (1, 1, 2)
    )
    assert (one.counts_mg != two.counts_mg).nnz == 0 and np.array_equal(one.state_m, two.state_m)
    assert (one.counts_mg != other.counts_mg).nnz > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"doses": (0.5, -1.0)}, "doses are 0.5, -1"),
        ({"doses": ()}, "doses are nothing"),
        ({"doses": (1.0, 1.0)}, "stands twice in 1, 1"),
        ({"penetrance": 1.5}, "penetrance is 1.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, said):
    with pytest.raises(SettingsError, match=said):
        DiseaseSettings(**settings)


def test_data_that_cannot_work_are_named():
    counts, types = tissue(50)
    with pytest.raises(SettingsError, match="the fold of up is 0, expected above 0"):
        Program("up", UP, 0.0)
    with pytest.raises(SettingsError, match="cannot be called 'normal'"):
        Program("normal", UP, 2.0)
    with pytest.raises(SettingsError, match="5 genes are in 'up' and in 'down'"):
        simulate_disease(
            counts, types, [Program("up", UP, 2.0), Program("down", np.arange(5, 20), 0.5)]
        )
    with pytest.raises(SettingsError, match="two diseased states are called 'up'"):
        simulate_disease(counts, types, [Program("up", UP, 2.0), Program("up", DOWN, 2.0)])
    with pytest.raises(SettingsError, match="no program was given"):
        simulate_disease(counts, types, [])
    with pytest.raises(DataError, match=r"the counts hold 0\.5, expected whole numbers"):
        simulate_disease(sp.csr_matrix(np.full((20, 40), 0.5)), np.full(20, "a"), PROGRAMS)
    with pytest.raises(DataError, match="3 cells are too few for 2 diseased states at 2 doses"):
        simulate_disease(counts[:3], types[:3], PROGRAMS, DiseaseSettings(doses=(0.5, 1.0)))
