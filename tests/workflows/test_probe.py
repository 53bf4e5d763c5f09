from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score
from sklearn.preprocessing import StandardScaler

from cellwright.errors import CheckFailed, DataError, RunError, SettingsError
from cellwright.evaluation.probe import load_probes
from cellwright.workflows.probe import probe


@pytest.fixture(scope="module")
def written(planted_once, tmp_path_factory):
    """A probe with everything written: an embedding, a few cells without a label."""
    cells = planted_once.copy()
    rng = np.random.default_rng(0)
    cells.obsm["X_mine"] = rng.normal(size=(200, 4)) + np.eye(2, 4)[(cells.obs["kind"] == "b") * 1]
    cells.obs["kind"] = cells.obs["kind"].astype(object)
    cells.obs.iloc[:7, 0] = None
    folder = tmp_path_factory.mktemp("probe") / "out"
    return cells, probe(cells, ["obsm:X_mine", "hvg"], label="kind", shuffles=5, out=folder)


def value(result, rep, metric="accuracy", design="grouped"):
    (found,) = [
        s.value
        for s in result.scores
        if (s.rep, s.metric, s.split, s.stratum) == (rep, metric, design, "all")
    ]
    return found


def test_planted_truth_and_shortcuts(planted_once):
    result = probe(planted_once, "hvg", label="kind", shuffles=0)
    assert value(result, "hvg") > 0.97
    assert value(result, "pca") > 0.97
    assert 0.65 < value(result, "depth") < 0.95
    # A library that was never seen says nothing; of known ones nine cells in ten are of one kind.
    assert value(result, "batch") < 0.6
    assert value(result, "batch", design="random") > 0.8
    (grouped,) = [s for s in result.sentences if s.endswith("whole library held out.")]
    assert grouped.startswith("hvg (accuracy") and "does not beat pca" in grouped


def test_scores_equal_scikit_learns_on_the_same_folds(written):
    cells, result = written
    task, (design, _) = result.exam.tasks[0], result.exam.designs
    labelled = cells.obs["kind"].notna().to_numpy()
    vectors, truth, asked = cells.obsm["X_mine"], [], []
    for fold in design.folds:
        assert labelled[fold.train].all() and labelled[fold.test].all()
        assert not set(cells.obs["library"].iloc[fold.train]) & set(
            cells.obs["library"].iloc[fold.test]
        )
        scale = StandardScaler().fit(vectors[fold.train])
        model = LogisticRegression(class_weight="balanced", max_iter=5000, tol=1e-8)
        model.fit(scale.transform(vectors[fold.train]), task.label_codes_n[fold.train])
        asked.append(model.predict_proba(scale.transform(vectors[fold.test]))[:, 1])
        truth.append(task.label_codes_n[fold.test])
    truth, asked = np.concatenate(truth), np.concatenate(asked)
    rep = "obsm:X_mine"
    assert value(result, rep) == pytest.approx(accuracy_score(truth, asked > 0.5), abs=1e-9)
    assert value(result, rep, "roc_auc") == pytest.approx(roc_auc_score(truth, asked), abs=1e-3)
    counts = result.to_dict()["confusion"][rep]["counts"]
    np.testing.assert_array_equal(counts, confusion_matrix(truth, asked > 0.5))


def test_cells_without_label_are_counted_and_still_embedded(written):
    _, result = written
    assert result.labels.excluded == 7
    folder = result.folder
    labels = pd.read_csv(folder / "labels.tsv", sep="\t", keep_default_na=False)
    vectors = np.load(folder / "embeddings" / "obsm_X_mine.npy", allow_pickle=False)
    assert len(labels) == len(vectors) == 200
    assert (labels["class"] == "").sum() == 7
    predicted = pd.read_csv(folder / "predictions.tsv", sep="\t")
    assert not set(labels["cell"][:7]) & set(predicted["cell"])
    drawn = pd.read_csv(folder / "coordinates.tsv", sep="\t", keep_default_na=False)
    assert set(drawn["cell"]) == set(labels["cell"])
    assert any("7 of 200 cells take no part" in s for s in result.sentences)


def test_the_folder_holds_what_it_says(written):
    _, result = written
    folder = result.folder
    kept = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert kept["schema"] == "cellwright.probe/1"
    assert kept["classes"] == ["a", "b"] and kept["positive"] == "b" and kept["excluded"] == 7
    assert kept["design"]["headline"] == "grouped" and kept["design"]["group"] == "library"
    assert {s["rep"] for s in kept["scores"]} == {
        "obsm:X_mine", "hvg", "pca", "depth", "batch", "depth+batch"
    }  # fmt: skip
    assert {s["split"] for s in kept["scores"]} == {"grouped", "random"}
    seen = {s["rep"]: s["seen"] for s in kept["scores"]}
    assert seen["obsm:X_mine"] == "unknown" and seen["hvg"] == "clean"
    for score in kept["scores"]:
        assert score["low"] <= score["value"] <= score["high"]
    assert {m for entry in kept["knn_2d"].values() for m in entry} == {"pca", "tsne", "umap"}
    for rep, name in kept["files"].items():
        table = pd.read_csv(folder / f"confusion_{name}.csv", index_col=0)
        np.testing.assert_array_equal(table.to_numpy(), kept["confusion"][rep]["counts"])
        assert (folder / "figures" / f"confusion_{name}.png").stat().st_size > 5000
    for name in ("scores", "roc", "pca_obsm_X_mine", "tsne_obsm_X_mine", "umap_hvg"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_predictions_give_the_scores_again(written):
    _, result = written
    table = pd.read_csv(result.folder / "predictions.tsv", sep="\t")
    for (rep, design), rows in table.groupby(["rep", "split"]):
        assert (rows["class"] == rows["prediction"]).mean() == pytest.approx(
            value(result, rep, design=design)
        )
        np.testing.assert_allclose(rows["p_a"] + rows["p_b"], 1, atol=1e-5)
    grouped = table[table["split"] == "grouped"]
    assert (grouped.groupby("rep")["cell"].nunique() == 193).all()


def test_the_saved_probe_answers_for_the_saved_vectors(written):
    cells, result = written
    saved = load_probes(result.folder / "probe.npz")["obsm:X_mine"]
    vectors = np.load(result.folder / "embeddings" / "obsm_X_mine.npy", allow_pickle=False)
    model = LogisticRegression(class_weight="balanced", max_iter=5000, tol=1e-8)
    known = cells.obs["kind"].notna().to_numpy()
    scale = StandardScaler().fit(vectors[known])
    model.fit(scale.transform(vectors[known]), cells.obs["kind"][known].astype(str))
    expected = model.predict_proba(scale.transform(vectors))
    np.testing.assert_allclose(saved.probability(vectors), expected, atol=2e-3)


def test_figures_and_table_come_back_in_a_notebook(written):
    _, result = written
    assert result.table().index[0] == "hvg"
    assert "hvg" in result._repr_html_()
    assert result.plot_map("hvg", "pca").get_title
    assert result.plot_roc("random").get_title
    with pytest.raises(SettingsError, match="'hvgs'"):
        result.plot_confusion("hvgs")


def test_same_seed_same_result_whatever_the_order_of_the_cells(planted_once):
    order = np.random.default_rng(3).permutation(200)
    first = probe(planted_once, "pca", label="kind", shuffles=0)
    second = probe(planted_once[order].copy(), "pca", label="kind", shuffles=0)
    assert [s.split for s in first.scores] == [s.split for s in second.scores]
    for one, other in zip(first.scores, second.scores, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-6)
        # Rounding breaks ties between folds in which the batch alone says the same of all cells.
        ties = one.rep == "batch" and one.metric == "roc_auc"
        assert one.low == pytest.approx(other.low, abs=0.02 if ties else 1e-6)


def test_many_classes_without_groups(planted_once):
    result = probe(planted_once, "pca", label="noise", group="none", shuffles=10)
    assert result.headline == "random" and result.labels.positive is None
    assert value(result, "pca", "balanced_accuracy", "random") < 0.55
    assert all(control.holds for control in result.controls)
    assert any("is not above chance" in s for s in result.sentences)
    assert {row["class"] for row in result.to_dict()["per_class"]["pca"]} == {"x", "y", "z"}


def test_positive_and_negative_groups(planted_once):
    cells = planted_once.copy()
    cells.obs["three"] = np.where(cells.obs["noise"] == "x", "other", cells.obs["kind"])
    with pytest.raises(SettingsError, match="'other'"):
        probe(cells, label="three", positive="b", negative="a")
    result = probe(
        cells, label="three", positive="b", negative="a", ignore_unmapped=True, shuffles=0
    )
    assert result.labels.left_out == {"other": (cells.obs["noise"] == "x").sum()}
    assert value(result, "hvg") > 0.95
    assert {s.metric for s in result.scores} >= {"f1_positive", "roc_auc"}


def test_a_split_in_obs_makes_the_headline(planted_once):
    cells = planted_once.copy()
    held_out = cells.obs["library"].isin(["L0", "L1"])
    cells.obs["split"] = np.where(held_out, "test", "train")
    result = probe(cells, "hvg", label="kind", shuffles=0)
    assert [d.name for d in result.exam.designs] == ["given", "grouped", "random"]
    assert result.headline == "given"
    (fold,) = result.exam.designs[0].folds
    np.testing.assert_array_equal(fold.test, np.flatnonzero(held_out))
    # With fewer than six libraries each is listed by itself.
    assert {s.stratum for s in result.scores if s.split == "given"} == {"all", "L0", "L1"}
    cells.obs["split"] = np.where(held_out, "held out", "train")
    other = probe(cells, "hvg", label="kind", shuffles=0)
    assert other.headline == "grouped"
    assert any("'held out'" in s for s in other.sentences)


def test_the_label_is_no_group_even_where_it_names_the_library(planted_once):
    result = probe(planted_once, "pca", label="library", shuffles=0)
    assert result.exam.group is None and result.headline == "random"
    assert [v.name for v in result.views] == ["pca", "hvg", "depth"]


def test_copies_across_the_folds_fail_under_strict(planted_once):
    copies = planted_once[:100].copy()
    copies.obs_names = [f"copy {name}" for name in copies.obs_names]
    copies.obs["library"] = [f"M{i % 7}" for i in range(100)]
    cells = ad.concat([planted_once, copies])
    with pytest.raises(CheckFailed, match="the very counts of a cell outside test"):
        probe(cells, "depth", label="kind", shuffles=0, strict=True)


def test_a_label_confounded_with_its_library_is_warned_of(planted_once):
    result = probe(planted_once, "depth", label="kind", shuffles=0)
    warned = [c for c in result.checks if c.name == "label-confounded"]
    assert warned and warned[0].severity == "warning"
    assert "library alone names kind for 0.8" in warned[0].sentence


def test_a_label_that_follows_the_groups_falls_back_to_random_cells(planted_once):
    cells = planted_once.copy()
    cells.obs["library"] = np.where(cells.obs["kind"] == "a", "L0", "L1")
    result = probe(cells, "depth", label="kind", shuffles=0)
    assert [d.name for d in result.exam.designs] == ["random"]
    assert any(s.startswith("No grouped design") for s in result.sentences)
    with pytest.raises(DataError, match="library"):
        probe(cells, "depth", label="kind", group="library", shuffles=0)


def test_tiny_cells_from_end_to_end(planted_once, tmp_path):
    tiny = planted_once[:50, :30].copy()
    result = probe(tiny, "pca", label="kind", shuffles=3, out=tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "tsne_pca.png").is_file()
    assert "perplexity 16.3" in result.pictures["pca", "tsne"].projection.note


def test_nothing_is_written_when_it_goes_wrong_and_nothing_replaced(planted_once, tmp_path):
    with pytest.raises(DataError, match="'kin'"):
        probe(planted_once, label="kin", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        probe(planted_once, label="kind", out=tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"reps": "hgv"}, SettingsError, "did you mean 'hvg'"),
        ({"group": "librari"}, DataError, "did you mean 'library'"),
        ({"group": "kind"}, DataError, "'kind' is the label itself"),
        ({"class_weight": "even"}, SettingsError, "'even'"),
        ({"folds": 1}, SettingsError, "folds is 1"),
        ({"layer": "raw"}, DataError, "'raw'"),
        ({"size_column": "kind"}, DataError, "'a'|'b'"),
    ],
)
def test_settings_that_do_not_fit(planted_once, settings, error, said):
    with pytest.raises(error, match=said):
        probe(planted_once, **{"label": "kind", "shuffles": 0, **settings})


def test_lognormalized_cells_are_refused(planted_once):
    cells = planted_once.copy()
    cells.X = cells.X.log1p()
    with pytest.raises(DataError, match="log"):
        probe(cells, label="kind")


def test_whole_human_brain_neurons(real_data):
    """Figures measured on the published cells, libraries held out and at random."""
    file = real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad"
    result = probe(file, "hvg", label="subtype", shuffles=0)
    assert result.exam.group == "library_label"
    assert value(result, "hvg") == pytest.approx(1.0, abs=0.002)
    assert value(result, "depth") == pytest.approx(0.80, abs=0.02)
    assert value(result, "depth", "roc_auc") == pytest.approx(0.88, abs=0.02)
    assert value(result, "batch") < 0.55
    assert value(result, "batch", design="random") == pytest.approx(0.90, abs=0.04)
    assert value(result, "batch", "roc_auc", "random") == pytest.approx(0.95, abs=0.03)
