from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.workflows.cluster import cluster


@pytest.fixture(scope="module")
def written(planted_once, tmp_path_factory):
    cells = planted_once.copy()
    cells.obs["kind"] = cells.obs["kind"].astype(object)
    cells.obs.iloc[:7, 0] = None
    vectors = np.random.default_rng(0).normal(size=(200, 3))
    path = tmp_path_factory.mktemp("cluster") / "noise.npy"
    np.save(path, vectors)
    folder = path.parent / "out"
    rep = f"file:{path}"
    return rep, cluster(cells, ["hvg", rep], label="kind", out=folder)


def test_planted_kinds_are_found_and_noise_is_not(written):
    rep, result = written
    assert result["hvg"].matched.n_clusters == 2
    assert result["hvg"].matched.ari > 0.9
    assert abs(result[rep].matched.ari) < 0.1
    shuffled = result[rep].majority.shuffled
    assert shuffled["low"] <= result[rep].majority.accuracy <= shuffled["high"] + 0.05
    assert result.table().index[0] == "hvg"
    assert any(c.sentence.endswith("it may have seen these cells.") for c in result.checks)
    seen = {s.rep: s.seen for s in result.scores}
    unlabelled = "seen-unlabelled"
    assert seen == {rep: "unknown", "hvg": unlabelled, "pca": unlabelled, "depth": "clean"}


def test_agreement_equals_scikit_learns(written):
    _, result = written
    table = pd.read_csv(result.folder / "clusters.tsv", sep="\t", keep_default_na=False)
    assert (table.groupby("rep")["cell"].nunique() == 200).all()
    for rep, rows in table.groupby("rep"):
        known = rows[rows["label"] != ""]
        assert len(known) == 193
        given = result[rep].given
        assert given.ari == pytest.approx(adjusted_rand_score(known["label"], known["cluster"]))
        assert given.nmi == pytest.approx(
            normalized_mutual_info_score(known["label"], known["cluster"])
        )
        matched = adjusted_rand_score(known["label"], known["cluster_matched"])
        assert result[rep].matched.ari == pytest.approx(matched)


def test_the_folder_holds_what_it_says(written):
    rep, result = written
    folder = result.folder
    kept = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert kept["schema"] == "cellwright.cluster/1"
    assert list(kept["reps"]) == ["hvg", rep, "pca", "depth"]
    assert kept["settings"]["metric"] == "cosine" and kept["settings"]["resolution"] == 0.8
    for name, entry in kept["reps"].items():
        assert set(entry) >= {"given", "matched", "grid", "majority", "clusters"}
        assert sum(row["n"] for row in entry["clusters"]) == 200
        assert 0 <= kept["knn_2d"][name]["umap"]["value"] <= 1
        file = kept["files"][name]
        counts = pd.read_csv(folder / f"confusion_{file}.csv", index_col=0)
        np.testing.assert_array_equal(counts, entry["majority"]["confusion"]["counts"])
        for figure in ("umap", "sizes", "resolutions", "confusion"):
            assert (folder / "figures" / f"{figure}_{file}.png").stat().st_size > 5000
    drawn = pd.read_csv(folder / "coordinates.tsv", sep="\t", keep_default_na=False)
    assert list(drawn.columns) == ["cell", "rep", "method", "x", "y", "label", "cluster"]
    assert len(drawn) == 4 * 200


def test_the_picture_shows_the_clusters(written):
    _, result = written
    assert result.pictures["hvg"].knn.value > 0.9
    with pytest.raises(SettingsError, match="'scvi'"):
        result["scvi"]
    assert "hvg" in result._repr_html_()


@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_resolution_is_honoured_by_both_methods(planted_once, method):
    found = cluster(planted_once, "pca", label="kind", method=method, resolution=3.0)["pca"]
    coarse = cluster(planted_once, "pca", label="kind", method=method, resolution=0.05)["pca"]
    assert coarse.given.n_clusters < found.given.n_clusters


def test_tiny_cells_and_a_class_of_one_cell(planted_once, tmp_path):
    tiny = planted_once[:50, :30].copy()
    tiny.obs["kind"] = np.where(np.arange(50) == 3, "only", tiny.obs["kind"])
    result = cluster(tiny, label="kind", out=tmp_path / "out")
    assert result.labels.classes == ("a", "b", "only")
    assert (tmp_path / "out" / "figures" / "umap_hvg.png").is_file()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"label": "kinds"}, DataError, "did you mean 'kind'"),
        ({"metric": "cosin"}, SettingsError, "'cosin'"),
        ({"method": "kmeans"}, SettingsError, "'kmeans'"),
        ({"resolution": 0.0}, SettingsError, "0"),
        ({"reps": "file:nowhere.npy"}, DataError, "nowhere.npy"),
    ],
)
def test_settings_that_do_not_fit(planted_once, settings, error, said, tmp_path):
    with pytest.raises(error, match=said):
        cluster(planted_once, **{"label": "kind", "out": tmp_path / "out", **settings})
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_stays(planted_once, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        cluster(planted_once, label="kind", out=tmp_path)


def test_whole_human_brain_neurons(real_data):
    file = real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad"
    result = cluster(file, "hvg", label="subtype")
    assert result["hvg"].matched.ari > 0.95
    assert result["depth"].matched.ari < 0.5
    assert result["hvg"].majority.accuracy > 0.99


def test_a_place_that_cannot_be_written_is_named(planted_once, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot write .*file.out"):
        cluster(planted_once, "depth", label="kind", out=tmp_path / "file" / "out")
