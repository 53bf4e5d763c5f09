"""The page shows the numbers of the files, escapes every name, and stands without what is missing."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from cellwright.errors import DataError, RunError
from cellwright.report.page import build_report

Make = Callable[..., Path]


def body(path: Path) -> str:
    """The page as text a reader sees: without style, scripts and tags."""
    text = path.read_text(encoding="utf-8").split("<body>")[1].split("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def numbers(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())


def test_scores_intervals_chance_and_differences_are_those_of_the_file(study, page, tables) -> None:
    found = tables(page)
    scores = numbers(study / "probe")["scores"]
    metrics = ["accuracy", "balanced_accuracy", "macro_f1", "f1_positive", "roc_auc"]
    for split, caption in (("grouped", "23 libraries"), ("random", "230 cells")):
        rows = found.starting(f"Value and 95 % interval over {caption}")
        for cells in rows[1:-1]:
            own = {s["metric"]: s for s in scores if s["split"] == split and s["rep"] == cells[0]}
            for metric, shown in zip(metrics, cells[2:7], strict=True):
                s = own[metric]
                assert shown == f"{s['value']:.3f}[{s['low']:.3f}, {s['high']:.3f}]"
        assert rows[1][0] == "neurons"
        assert rows[-1][2:7] == ["0.538", "0.500", "0.500", "0.500", "0.500"]
    model = found.starting("Value and 95 % interval over 23 libraries")[1]
    assert model[7] == "−0.004 [−0.015, +0.006]to hvg: not shown to differ"
    assert model[8] == "seen without labels"


def test_designs_stand_beside_each_other(study, page, tables) -> None:
    rows = tables(page).starting("Accuracy with its 95 % interval")
    assert [head.split(" (")[0] for head in rows[0][2:]] == [
        "whole library_label held out",
        "random cells held out",
    ]
    value = {
        (s["rep"], s["split"]): f"{s['value']:.3f} [{s['low']:.3f}, {s['high']:.3f}]"
        for s in numbers(study / "probe")["scores"]
        if s["metric"] == "accuracy"
    }
    for row in rows[1:-1]:
        assert row[2].startswith(value[row[0], "grouped"])
        assert row[3].startswith(value[row[0], "random"])
    assert rows[-1] == ["chance", "class sizes only", "0.538", "0.538"]


def test_the_headline_design_comes_first(make_probe: Make, tmp_path: Path) -> None:
    design = {"headline": "random", "designs": [{"name": "random", "folds": 1}]}
    probe = make_probe(n=20, reps=("neurons", "hvg"), design=design)
    text = body(build_report(probes=[probe], out=tmp_path / "page.html"))
    assert text.index("Scores, random cells held out") < text.index("Scores, whole library_label")
    assert "Accuracy for cell_type from neurons, random cells held out 0.996" in text
    assert "designs.random.folds 1" in text


def test_donors_too_few_for_an_interval_are_listed(
    make_probe: Make, tmp_path: Path, tables
) -> None:
    probe = make_probe(n=20, reps=("neurons", "hvg"))
    metrics = numbers(probe)
    one = next(s for s in metrics["scores"] if s["rep"] == "hvg" and s["metric"] == "accuracy")
    for donor, value in (("d1", 0.75), ("d<2>", 0.5)):
        metrics["scores"].append(one | {"stratum": donor, "value": value, "n": 80})
    (probe / "metrics.json").write_text(json.dumps(metrics))
    page = build_report(probes=[probe], out=tmp_path / "page.html")
    rows = tables(page).starting("There are too few of these for an interval")
    assert rows == [
        ["Representation", "d1 (80)", "d<2> (80)"],
        ["neurons", "–", "–"],
        ["hvg", "0.750", "0.500"],
    ]


def test_warnings_of_one_kind_are_told_once_and_failures_always(
    make_probe: Make, tmp_path: Path
) -> None:
    given = (("warning", "seen", 3), ("note", "size", 2), ("failure", "leak", 2))
    checks = [
        {"name": name, "severity": severity, "sentence": f"{name} number {i}.", "remedy": "Act."}
        for severity, name, n in given
        for i in range(n)
    ]
    probe = make_probe(n=20, reps=("pca",), checks=checks)
    text = body(build_report(probes=[probe], out=tmp_path / "page.html"))
    told = text.split("What to be careful about")[1].split("The data")[0]
    assert told.index("failure leak number 0.") < told.index("failure leak number 1.")
    assert told.index("leak number 1.") < told.index("warning seen number 0. (2 more of this kind)")
    assert "size" not in told
    assert "2 checks found nothing to warn of" in text


def test_many_findings_are_led_by_the_first(make_probe: Make, tmp_path: Path) -> None:
    probe = make_probe(n=20, reps=("pca",), sentences=[f"Finding {i}." for i in range(9)])
    text = body(build_report(probes=[probe], out=tmp_path / "page.html"))
    assert "Finding 3. 5 more in the section on the probe." in text
    assert "All 9 findings in words Finding 0." in text


def test_every_score_has_a_row(study, page, tables) -> None:
    rows = tables(page).starting("Every metric, design and stratum")
    assert len(rows) - 1 == len(numbers(study / "probe")["scores"]) == 70


def test_perplexities_stand_beside_the_model_with_their_rule(study, page, tables) -> None:
    rows = tables(page).starting("Perplexity of masked bins, lower is better. Rule: 20 quantile")
    perplexity = numbers(study / "run")["perplexity"]
    assert [row[1] for row in rows[1:]] == [f"{v:.2f}" for v in sorted(perplexity.values())]
    assert rows[1][0] == "the model"
    assert rows[2][0].endswith("best without a network")
    assert rows[2][2] == f"−{perplexity['unigram_depth'] - perplexity['model']:.2f}"


@pytest.mark.parametrize(("n", "shown"), [(7, True), (1, False)])
def test_perplexity_has_an_interval_unless_of_one_donor(
    make_run: Make, tmp_path: Path, tables, n: int, shown: bool
) -> None:
    own = {"rep": "model", "metric": "perplexity", "baseline": "unigram_depth", "n": n}
    own |= {"value": 5.4871, "low": 5.31, "high": 5.66}
    own |= {"difference": {"value": -0.6329, "low": -0.71, "high": -0.55}}
    run = make_run(scores=[own], scored_on="test", cells={"train": 900, "test": 230})
    rows = tables(build_report(run, out=tmp_path / "page.html")).starting(
        "Perplexity of masked bins on the 230 test cells, lower is better."
    )
    assert rows[1][1] == "5.49" + ("[5.31, 5.66]" if shown else "")
    assert rows[2][2] == "−0.63" + ("[−0.71, −0.55]" if shown else "")
    assert rows[3][2] == "−0.69"


def test_clusters_votes_classes_and_pictures_carry_the_numbers(study, page, tables) -> None:
    found = tables(page)
    reps = numbers(study / "cluster")["reps"]
    rows = found.starting("Agreement of the clusters with cell_type")[1:]
    for row, (rep, at) in zip(
        rows, [(r, k) for r in reps for k in ("given", "matched")], strict=True
    ):
        entry = reps[rep][at]
        keys = ("ari", "nmi", "homogeneity", "completeness")
        assert row[0] == rep
        assert row[3:8] == [str(entry["n_clusters"]), *(f"{entry[k]:.3f}" for k in keys)]
    vote = found.starting("Each cluster named after its most frequent label")[1]
    assert vote == ["neurons", "0.991", "0.547[0.538, 0.562]"]
    knn = numbers(study / "probe")["knn_2d"]["depth"]
    drawn = {row[0]: row[1:] for row in found.starting("kNN accuracy in each picture")}
    assert drawn["depth"] == [f"{knn[m]['value']:.3f}" for m in ("pca", "tsne", "umap")]
    classes = numbers(study / "probe")["per_class"]["neurons"]
    assert [row[1] for row in found.starting("neurons, per class")[1:]] == [
        f"{c['precision']:.3f}" for c in classes
    ]


def test_example_predictions(study, page, tables) -> None:
    rows = tables(page).starting("The true bin of each masked gene")
    assert rows[3] == [
        "SATB2",
        "ENSG00000000002",
        "12",
        "14 (61 %)",
        "12 (20 %)",
        "13 (7 %)",
        "the second",
    ]
    assert "3 of 5 masked genes named right at the first guess, 5 within three" in body(page)


def test_findings_verdict_checks_and_provenance_are_told(study, page) -> None:
    text = body(page)
    for part in ("run", "probe", "cluster"):
        for sentence in numbers(study / part)["sentences"]:
            assert sentence in text
    for check in numbers(study / "probe")["checks"]:
        assert f"{check['severity']} {check['name']} {check['sentence']}" in text
    assert "X holds raw counts. Evidence: all 4,096 sampled values are whole numbers" in text
    assert "On whb_neurons_1152x2000.h5ad (1,152 cells × 2,000 genes, raw counts)" in text
    assert "12 cells took no part" in text
    assert (
        "0.991 [0.986, 0.996] best simple method 0.996 (hvg); best shortcut 0.796 (depth)" in text
    )
    assert "0.941 2 clusters of neurons; best simple method 0.941 (pca); 0 is chance" in text
    assert "5.49 best without a network: 6.12, bin frequencies knowing the cell's depth" in text
    assert "versions cellwright 0.1.0, torch 2.13.0, anndata 0.12.6" in text
    assert "hardware processor 2 cores, memory 25.0 GB" in text
    assert "Masked bins named right 43.7 %; each gene's commonest bin 39.2 %" in text
    assert str(study) not in page.read_text(encoding="utf-8")


def test_every_figure_is_there_with_words_for_who_does_not_see_it(page, caplog) -> None:
    html = page.read_text(encoding="utf-8").split("</main>")[0]
    images = re.findall(r"<img ([^>]*)>", html)
    assert len(images) == 4 + 2 + 1 + 7 + 1 + 4 + 3
    for image in images:
        assert re.search(r'alt="[^"]{20,}"', image)
        assert 'src="data:image/' in image
    assert "A figure is left out" not in html


def test_the_page_refers_to_nothing_outside_itself(page) -> None:
    html = page.read_text(encoding="utf-8")
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not re.search(r'(src|href|action)\s*=\s*"?(https?:|//|file:)', outside)
    assert "url(" not in outside
    assert not re.search(r'<script[^>]+src|<link(?! rel="icon" href="data:,")', html)
    assert page.stat().st_size < 6_200_000


def test_the_same_folders_give_the_same_page(study, page, tmp_path) -> None:
    again = build_report(
        study / "run",
        [study / "probe"],
        [study / "cluster"],
        study / "inspection.json",
        out=tmp_path / "again.html",
    )
    assert again.read_bytes() == page.read_bytes()


def test_every_name_is_escaped(tricky_page, tables) -> None:
    html = tricky_page.read_text(encoding="utf-8")
    outside = re.sub(
        r"<script(?: type=\"application/json\"[^>]*)?>.*?</script>", "", html, flags=re.S
    )
    for raw in ("<b>L5", "<img src=x", "window.hurt=1</script>", "a<b>&'run", "<type>", "<g>"):
        assert raw not in outside
    assert "window.hurt=3" in body(tricky_page)
    assert "<title>&lt;/title&gt;&lt;b&gt;</title>" in html
    data = re.search(r'id="map-data">(.*?)</script>', html, flags=re.S)
    assert data is not None
    assert "<" not in data[1]
    from_json = json.loads(data[1])
    assert from_json["sources"][0]["label"]["name"] == "cell & <type>"
    assert '<b>L5 IT</b> & "x"' in from_json["sources"][0]["label"]["names"]
    rows = tables(tricky_page).starting("neurons, per class")
    assert rows[1][0] == '<b>L5 IT</b> & "x"'


def test_each_part_alone_leaves_the_others_out_with_a_sentence(
    make_run: Make, make_probe: Make, make_cluster: Make, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    sentences = {
        "data": "No inspection of the data was given",
        "run": "No run was given",
        "probe": "No probe was given",
        "map": "No coordinates were given",
        "cluster": "No clustering was given",
        "provenance": "No versions, seeds or hardware were recorded",
    }
    cases = (
        ({"run": make_run(epochs=2)}, {"probe", "map", "cluster"}),
        ({"probes": [make_probe(n=20, reps=("pca",))]}, {"data", "run", "cluster", "provenance"}),
        ({"clusters": [make_cluster(n=20)]}, {"data", "run", "probe", "provenance"}),
        (
            {"inspection": study / "inspection.json"},
            {"run", "probe", "map", "cluster", "provenance"},
        ),
    )
    for given, absent in cases:
        text = body(build_report(**given, out=out))
        assert {key for key, sentence in sentences.items() if sentence in text} == absent


def test_nan_null_and_emptiness_do_not_stop_the_page(
    make_run: Make, make_probe: Make, make_cluster: Make, tmp_path: Path
) -> None:
    run = make_run(
        epochs=3,
        perplexity={"model": None, "uniform": float("nan")},
        best_reference=None,
        masked_accuracy={},
        gap=None,
        still_falling=None,
        rule=None,
        seconds=float("inf"),
    )
    pd.DataFrame({"epoch": [1, 2], "perplexity": [float("nan")] * 2}).to_csv(
        run / "history.csv", index=False
    )
    (run / "examples.json").write_text('{"cell": null, "rows": [{"gene_id": "g", "top": []}, 3]}')
    probe = make_probe(n=20, reps=("neurons", "pca"))
    metrics = numbers(probe)
    for score in metrics["scores"]:
        score |= {"value": float("nan"), "low": None, "chance": None, "difference": {"value": None}}
    metrics |= {"roc": {"neurons": {"fpr": [], "tpr": []}}, "knn_2d": {"neurons": {"umap": None}}}
    metrics |= {"per_class": {"neurons": [{"class": "a", "f1": None}]}, "confusion": {"pca": {}}}
    (probe / "metrics.json").write_text(json.dumps(metrics))
    empty = make_probe("probe-empty", n=4, scores=[], checks=None, confusion=None, per_class={})
    (empty / "coordinates.tsv").write_text("cell\trep\tmethod\tx\ty\tlabel\n")
    cluster = make_cluster(
        n=20, reps={"pca": {"given": {}, "grid": [], "majority": {}, "clusters": []}}
    )
    text = body(build_report(run, [probe, empty], [cluster], out=tmp_path / "page.html"))
    assert "The probe holds no scores." in text
    assert "the model –" in text
    assert re.search(r"A figure is left out \(Perplexity of masked bins.*?holds no numbers", text)


def test_a_figure_that_cannot_be_drawn_is_said_in_the_log_too(
    make_probe: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probe = make_probe(
        n=20, reps=("pca",), confusion={"pca": {"classes": ["a"], "counts": [[1, 2]]}}
    )
    with caplog.at_level(logging.WARNING, logger="cellwright.report"):
        page = build_report(probes=[probe], out=tmp_path / "page.html")
    said = "A figure is left out (Confusion matrix of pca): a confusion matrix of shape (1, 2)"
    assert said in caplog.text
    assert said in body(page)


def test_nothing_given_or_no_place_to_write(make_probe: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to report on: no run"):
        build_report(out=tmp_path / "page.html")
    with pytest.raises(DataError, match="nowhere"):
        build_report(
            probes=[make_probe(n=9, reps=("pca",))], out=tmp_path / "nowhere" / "page.html"
        )
    with pytest.raises(RunError, match="absent"):
        build_report(run=tmp_path / "absent", out=tmp_path / "page.html")
    assert not list(tmp_path.glob("*.html")) + list(tmp_path.glob(".*partial*"))
