"""The reverse benchmark on screens of counts whose truth is planted, and on what does not fit."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.evaluation.target_ranking import chance_of, rank_metrics
from cellwright.perturbation.reverse import read_screen
from cellwright.workflows.reverse_benchmark import reverse_benchmark
from cellwright.workflows.reverse_benchmark_exchange import exchanged
from cellwright.workflows.reverse_benchmark_runs import Asked, Exam
from cellwright.workflows.reverse_benchmark_scores import judge_all

QUICK = ("frequency", "own-z", "additive", "logistic-regression")


def screen_of_counts(*, effect=0.7, own=2.0, cells=24, guides=False, genes=90):
    """Poisson counts of 8 targets and 14 of their doubles; log effects add up.

    The first eight genes are the targets, whose own transcripts rise by ``own``.
    """
    rng = np.random.default_rng(5)
    targets = [f"T{i}" for i in range(8)]
    effects = effect * rng.normal(size=(8, genes))
    effects[:, :8] = own * np.eye(8)
    rate = rng.lognormal(1, 0.5, genes)
    pairs = list(combinations(range(8), 2))
    doubles = [pairs[i] for i in rng.permutation(len(pairs))[:14]]
    labels, counts = [], []
    for chosen in [(), *((i,) for i in range(8)), *doubles]:
        lift = np.exp(effects[list(chosen)].sum(axis=0))
        size = 60 if not chosen else cells
        counts.append(rng.poisson(rate * lift, (size, genes)))
        labels += ["+".join(targets[i] for i in chosen) or "control"] * size
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    if guides:
        obs["guide"] = [f"{c}_{i % 2}" for i, c in enumerate(labels)]
    var = pd.DataFrame(index=[*targets, *(f"GENE{i}" for i in range(genes - 8))])
    return AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=var)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("reverse") / "result"
    cells = screen_of_counts()
    return reverse_benchmark(cells, k=[5, "all"], methods=QUICK, most=3, out=out)


def value(result, method, genes="hidden", k="5", stratum="all", metric="mrr"):
    t = result.table
    chosen = t[
        (t.method == method)
        & (t.genes == genes)
        & (t.k == k)
        & (t.stratum == stratum)
        & (t.metric == metric)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_sums_win_where_the_truth_is_additive(found):
    additive = value(found, "additive", k="all", metric="exact_set@1")
    assert additive["value"] == 1.0 and additive["perturbations"] == 14
    assert value(found, "additive", k="all")["p"] < 0.01
    for name in ("frequency", "own-z"):
        assert value(found, name)["value"] < value(found, "additive")["value"] - 0.3
    assert "additive" in found.sentences[0] or value(found, "additive")["value"] == pytest.approx(
        value(found, "logistic-regression")["value"], abs=0.1
    )


def test_the_own_transcript_explains_all_of_its_rival_and_nothing_of_the_rest(found):
    assert value(found, "own-z", "visible", "all", metric="exact_set@1")["value"] == 1.0
    hidden = value(found, "own-z", "hidden", "all")
    assert hidden["cannot_score"] == 14
    assert abs(hidden["value"] - hidden["chance"]) < 0.25
    own = found.own.set_index(["method", "k"])
    assert own.loc[("own-z", "5"), "share"] > 0.7
    assert abs(own.loc[("additive", "all"), "share"]) < 0.1


def test_sentences_name_what_needs_no_cell_and_what_cannot_be_scored(found):
    words = " ".join(found.sentences)
    assert f"without any cell, scores {value(found, 'frequency', k='all')['value']:.3f}" in words
    assert "ranks last: own-z 14" in words and "the best of the others" in words


def test_random_groups_score_at_chance(found):
    check = next(c for c in found.checks if c.name == "random_groups")
    assert check.severity == "note", check.sentence
    assert len(found.random) == 2 * 2 * len(QUICK)


def test_no_effect_is_chance_for_all(tmp_path):
    nothing = reverse_benchmark(
        screen_of_counts(effect=0, own=0), k="5", methods=("additive", "own-z"), most=3
    )
    for row in nothing.table[nothing.table.metric == "mrr"].to_dict("records"):
        assert row["low"] <= row["chance"] <= row["high"]
    assert "holds chance" in " ".join(nothing.sentences)


def test_the_folder_and_the_figure(found):
    folder = found.folder
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["schema"] == "cellwright.reverse-benchmark/1"
    assert len(metrics["scores"]) == len(found.table)
    assert metrics["headline"] == {"genes": "hidden", "k": "all"}
    for name in ("scores.tsv", "random_groups.tsv", "own_transcripts.tsv", "provenance.json"):
        assert (folder / name).stat().st_size > 50
    assert (folder / "figures" / "scores.png").stat().st_size > 5000
    assert len(found.plot()) == 2
    assert "additive ranks best" in found.text() or "logistic" in found.text()
    with pytest.raises(RunError, match="exists already"):
        reverse_benchmark(screen_of_counts(), out=folder)


def test_wrong_genes_are_counted_by_pathway_for_every_method(tmp_path):
    sets = tmp_path / "sets.gmt"
    sets.write_text("first\t\tT0\tT1\tT2\nsecond\t\tT3\tT4\n")
    found = reverse_benchmark(
        screen_of_counts(effect=0.3),
        split="mambaperturb-2025",
        k=[5],
        methods=["additive", "frequency"],
        gene_sets=sets,
        permutations=0,
        out=tmp_path / "out",
    )
    table = pd.read_csv(tmp_path / "out" / "pathways.tsv", sep="\t").set_index("method")
    assert table.missed["frequency"] > table.missed["additive"]
    assert set(found.to_dict()["pathways"]) == {"additive", "frequency"}
    assert "shares a pathway" in found.text()
    for figure in ("scores", "f1", "pathways"):
        assert (tmp_path / "out" / "figures" / f"{figure}.png").stat().st_size > 5000
    with pytest.raises(DataError, match="'knn'; there is of additive, frequency"):
        found.plot_pathways("knn")


def test_guides_held_out_and_neighbours_hidden(tmp_path):
    table = tmp_path / "genes.tsv"
    rows = [f"T{i}\t1\t{1000 + 10 * i}\t{1005 + 10 * i}" for i in range(8)]
    rows += [f"GENE0\t1\t{9000}\t{9100}", f"GENE1\t1\t{900000}\t{900100}"]
    table.write_text("symbol\tchr\tstart\tend\n" + "\n".join(rows) + "\n")
    found = reverse_benchmark(
        screen_of_counts(guides=True),
        split="guides-held-out",
        guide="guide",
        k=[5],
        methods=["additive"],
        most=2,
        gene_table=table,
        hide_within=10_000,
    )
    assert found.settings["hidden_genes"] == 9 and "1 near one" in found.checks[0].sentence
    # A quarter of the 22 perturbations validates, and another quarter in the other partition.
    assert 17 <= value(found, "additive")["perturbations"] <= 22
    assert value(found, "additive", metric="micro_f1")["value"] > 0.3
    assert any("other guides" in sentence for sentence in found.sentences)


def test_a_context_held_out_is_asked_about_with_its_own_controls():
    cells = screen_of_counts()
    cells.obs["culture"] = np.where(np.arange(cells.n_obs) % 2, "one", "two")
    # In one culture other genes are up for all: only its own controls can tell.
    other = cells.obs["culture"].to_numpy() == "one"
    counts = cells.X.toarray() if hasattr(cells.X, "toarray") else np.array(cells.X)
    counts[other, -20:] += 20
    cells.X = counts
    found = reverse_benchmark(
        cells, split="contexts-held-out", context="culture", k=[5], methods=["additive"], most=2
    )
    row = value(found, "additive")
    assert found.settings["partitions"] == 2 and row["low"] > row["chance"]
    assert any("another context" in sentence for sentence in found.sentences)


def test_a_panel_of_targets_is_not_audited():
    cells = screen_of_counts(genes=40)
    found = reverse_benchmark(
        cells, split="ahlmann-eltze-2025", k=[5], methods=["own-z"], most=2, partitions=2
    )
    assert set(found.table.genes) == {"visible"} and found.headline == ("visible", "5")
    assert found.checks[0].severity == "warning" and "32 remain" in found.checks[0].sentence


def test_permutation_p_is_that_of_all_permutations():
    """Of four orders of two-gene truths, counted by hand against the drawn ones."""
    names = ["A", "B", "C", "D", "E"]
    screen = read_screen(pd.DataFrame({"condition": ["control"] * 2 + names * 2}))
    score = np.eye(5)[[0, 1, 2, 4, 3]]
    answer = Asked("m", "visible", 1, score, np.array(names), np.full(5, -1))
    exam = Exam(None, screen, None, ("m",), (1,), "auto", 1, 0)
    from itertools import permutations

    value_ij = np.array(
        [
            rank_metrics(score, np.tile(np.eye(5, dtype=bool)[j], (5, 1)), seed=0)["mrr"]
            for j in range(5)
        ]
    ).T
    own = np.trace(value_ij)
    every = [sum(value_ij[i, j] for i, j in enumerate(p)) for p in permutations(range(5))]
    exact = np.mean(np.array(every) >= own - 1e-9)
    found = exchanged(answer, exam, 4000)
    assert found.p == pytest.approx(exact, abs=0.03)
    assert found.chance == pytest.approx(np.mean(every) / 5)
    assert exchanged(answer, exam, 0).p is None
    assert exchanged(Asked("m", "v", 1, score[:4], answer.unit_q[:4], answer.stratum_q[:4]), exam, 9) is None  # fmt: skip


def test_what_leaving_out_takes_from_frequency_is_said(found):
    from cellwright.workflows.reverse_benchmark_findings import _own_chance

    said = " ".join(found.sentences)
    assert "truths exchanged among test perturbations" in said
    assert "takes from the counts" not in said
    rows = found.table[(found.table.metric == "mrr") & (found.table.stratum == "all")]
    assert rows["chance_permuted"].between(0.2, 0.9).all()
    row = {"method": "frequency", "value": 0.163, "high": 0.274, "chance": 0.202}
    other = {"method": "knn", "value": 0.57, "high": 0.79, "chance": 0.202}
    table = pd.DataFrame([row | {"chance_permuted": 0.371}, other | {"chance_permuted": 0.246}])
    first, second = _own_chance(table)
    assert "0.246 to 0.371 where a random order has 0.202" in first
    assert second.startswith("frequency scores 0.163 where it has 0.371")
    assert _own_chance(table.assign(chance_permuted=None)) == []


def test_a_method_that_looks_at_no_cell_is_at_its_own_chance():
    """It likes genes that test perturbations do not hold: below a random order, and no better."""
    names = [f"G{i}+H{i}" for i in range(8)]
    rows = ["control"] * 2 + [n for n in names for _ in range(2)] + ["X", "Y", "Z"] * 2
    screen = read_screen(pd.DataFrame({"condition": rows}))
    liked = np.array([3.0 if c in "XYZ" else i / 100 for i, c in enumerate(screen.candidates)])
    answer = Asked("m", "v", 1, np.tile(liked, (8, 1)), np.array(names), np.full(8, -1))
    found = exchanged(answer, Exam(None, screen, None, ("m",), (1,), "auto", 1, 0), 100)
    own = rank_metrics(answer.score_qc, screen.targets_pc[[screen.index(n) for n in names]])["mrr"]
    assert found.chance == pytest.approx(own.mean()) and found.p == 1
    assert found.chance < chance_of(2, len(screen.candidates))["mrr"]


def test_the_error_of_random_groups_is_that_of_random_orders(found):
    from cellwright.workflows.reverse_benchmark_scores import _chance_variance

    rng = np.random.default_rng(0)
    for size in (1, 2):
        places = np.argsort(rng.random((40_000, 7)), axis=1)[:, :size].min(axis=1)
        assert _chance_variance(size, 7) == pytest.approx((1 / (1 + places)).var(), rel=0.02)
    # 300 groups over 14 partitions, rounded up.
    row = found.random.iloc[0]
    assert row["groups"] == 14 * 22 and row["standard_error"] == pytest.approx(
        np.sqrt(_chance_variance(2, 8) / row["groups"])
    )


def test_an_answer_that_leaks_into_the_scores_is_a_failure():
    names = [f"G{i}" for i in range(6)]
    screen = read_screen(pd.DataFrame({"condition": ["control"] * 2 + names * 2}))
    rng = np.random.default_rng(1)
    unit = np.array(names * 40)
    truth = screen.targets_pc[[screen.index(n) for n in unit]]
    size = np.full(len(unit), -1)
    honest = Asked("m", "visible", 5, rng.random(truth.shape), unit, size)
    # What the check draws as random truths, which a method can know only through a leak.
    drawn = np.random.default_rng(1)
    places = np.argsort(np.argsort(drawn.random(truth.shape), axis=1), axis=1)
    leaked = Asked("m", "visible", 5, -places.astype(float), unit, size, drawn=True)
    exam = Exam(None, screen, None, ("m",), (5,), "auto", 1, 0)
    found = judge_all([honest, leaked], exam, "s", permutations=0)
    assert found.checks[0].severity == "failure" and "m at 5 cells" in found.checks[0].sentence


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"k": "5,some"}, SettingsError, "'some'"),
        ({"split": "leave-one-out"}, SettingsError, r"leave-one-double-out.*guides-held-out"),
        ({"methods": ["knm"]}, SettingsError, "'knm': did you mean 'knn'"),
        ({"kind": "knockout"}, SettingsError, "'knockout'"),
        ({"control": "contrl"}, SettingsError, "'contrl'"),
        ({"leave_out": ["x"]}, SettingsError, "'x'"),
        ({"leave_out": ["x"], "perturbation": "condition"}, SettingsError, "'x'"),
        ({"hide_within": 10}, SettingsError, "--gene-table"),
        ({"partitions": 0}, SettingsError, "partitions is 0"),
        ({"most": 0}, SettingsError, "most is 0"),
        ({"split": "guides-held-out"}, DataError, "--guide"),
        ({"candidates": ["T1"]}, DataError, "'T0'"),
    ],
)
def test_settings_that_cannot_work(how, error, words):
    with pytest.raises(error, match=words):
        reverse_benchmark(screen_of_counts(cells=4), **how)
