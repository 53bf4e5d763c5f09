"""Expected shifts against drawn cells, and the oracle against what can be known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from cellwright.data.screen_settings import ScreenSettings, screen_settings
from cellwright.data.simulated_screen import simulate_screen, truth_of
from cellwright.errors import DataError
from cellwright.evaluation.target_ranking import judge_ranking
from cellwright.perturbation.expected_shift import control_rates, expected_means, expected_shifts
from cellwright.perturbation.queries import Queries, control_means, draw_queries
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.reverse_additive import gene_scores, single_effects
from cellwright.perturbation.reverse_audit import only_genes
from cellwright.perturbation.reverse_oracle import Oracle, oracle, oracle_log_ratio
from cellwright.representations.expression import log_normalized, root_counts


@pytest.mark.parametrize("values", ["log", "root"])
@pytest.mark.parametrize("preset", ["plain", "norman"])
def test_expected_shifts_are_those_of_very_many_cells(preset, values):
    settings = screen_settings(
        preset, targets=2, doubles=1, genes=120, cells=12000, controls=12000, strength=0.6, seed=3
    )
    cells = simulate_screen(settings)
    truth = truth_of(cells)
    x = log_normalized(cells.X) if values == "log" else root_counts(cells.X)
    screen = read_screen(cells.obs, "condition", batch="batch")
    whole = draw_queries(x, screen, screen.conditions, k=None)
    kept = np.ones(120, dtype=bool)
    rates = control_rates(truth, cells=3000, values=values)
    conditions = [[truth.names_t.index(g) for g in genes] for genes in screen.genes_p]
    wanted = expected_shifts(rates, conditions, kept)
    for row, found in zip(wanted, whole.shift_qg, strict=True):
        assert np.corrcoef(row, found)[0, 1] > 0.99
        assert np.linalg.norm(row - found) < 0.12 * np.linalg.norm(found)
    base = np.asarray(x[screen.control_rows].mean(axis=0)).ravel()
    assert np.abs(expected_means(rates, kept) - base).max() < 0.12


@pytest.fixture(scope="module")
def asked():
    """A screen of 12 targets, queries about its doubles, and the oracle for them."""
    settings = screen_settings(
        "norman", targets=12, doubles=30, genes=300, cells=60, controls=400, strength=0.45,
        own_measured=1.0, seed=1,
    )  # fmt: skip
    cells = simulate_screen(settings)
    x, screen = log_normalized(cells.X), read_screen(cells.obs, "condition")
    kept = ~cells.var["is_target"].to_numpy()
    controls = control_means(x, screen)
    queries = draw_queries(x, screen, screen.doubles, k=20, seed=1, controls=controls)
    singles = draw_queries(x, screen, screen.singles, k=None, controls=controls)
    known = oracle(truth_of(cells), screen.candidates, kept, size=2)
    return screen, only_genes(queries, kept), only_genes(singles, kept), known


def test_the_oracle_tells_pairs_from_single_genes_by_scipys_normal_density():
    rng = np.random.default_rng(0)
    shift = rng.normal(size=(3, 4))
    pairs = shift[[0, 0, 1]] + shift[[1, 2, 2]]
    lower, other = np.linalg.cholesky(np.diag([1.0, 2, 3, 1]) + 0.2), np.eye(4) * 1.5
    one = Oracle(((0,), (1,), (2,)), np.linalg.solve(lower, shift.T).T, lower, 3)
    two = Oracle(((0, 1), (0, 2), (1, 2)), np.linalg.solve(other, pairs.T).T, other, 3)
    asked = rng.normal(size=(5, 4)).astype(np.float32)
    cells = np.array([1, 5, 20, 20, 7])
    none = np.zeros(5, dtype=np.int64)
    found = oracle_log_ratio(one, two, Queries(asked, asked, none, (), None), cells)
    for x, n, ratio in zip(asked, cells, found, strict=True):
        density = [
            np.mean([multivariate_normal(s, lower @ lower.T / n).pdf(x) for s in sets])
            for sets in (shift, pairs)
        ]
        assert ratio == pytest.approx(np.log(density[1] / density[0]))


def judged(score, screen, queries):
    unit = np.array([screen.conditions[code] for code in queries.condition_q])
    return judge_ranking(score, screen.targets_pc[queries.condition_q], unit, resamples=50)


def test_knowing_the_truth_beats_estimating_it(asked):
    screen, queries, singles, known = asked
    oracle_found = judged(known.score(queries), screen, queries)
    added = judged(gene_scores(queries.shift_qg, single_effects(singles, screen)), screen, queries)
    for metric in ("exact_set@1", "mrr", "recall@2"):
        assert oracle_found[metric].value > added[metric].value
    assert oracle_found["exact_set@1"].value > 0.35


def test_the_best_set_is_the_one_that_its_score_names(asked):
    _, queries, _, known = asked
    best = known.distances(queries).argmin(axis=1)
    named = np.sort(np.argsort(-known.score(queries), axis=1)[:, :2], axis=1)
    np.testing.assert_array_equal(named, np.array(known.sets_s)[best])


def test_with_all_cells_of_a_strong_double_the_oracle_is_right():
    settings = ScreenSettings(
        targets=6, doubles=10, genes=150, cells=300, strength=0.8, counts_per_gene=5, seed=2
    )
    cells = simulate_screen(settings)
    x, screen = log_normalized(cells.X), read_screen(cells.obs, "condition", batch="batch")
    kept = ~cells.var["is_target"].to_numpy()
    for size, conditions in ((1, screen.singles), (2, screen.doubles)):
        whole = only_genes(draw_queries(x, screen, conditions, k=None), kept)
        known = oracle(truth_of(cells), screen.candidates, kept, size=size)
        assert judged(known.score(whole), screen, whole)["exact_set@1"].value >= 0.9


def test_a_candidate_that_is_no_target_is_refused():
    truth = truth_of(simulate_screen(ScreenSettings(targets=2, doubles=0, cells=2, controls=2)))
    with pytest.raises(DataError, match="the candidate 'GATA1' is no target"):
        oracle(truth, ("GATA1",), np.ones(1000, dtype=bool), size=1)
