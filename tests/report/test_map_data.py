"""The map in the page holds the coordinates, labels, clusters and answers of the files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cellwright.report.collect import read_cluster, read_probe
from cellwright.report.map_data import ABSENT, map_sources, payload


def decoded(text: str, frame: pd.DataFrame) -> np.ndarray:
    """Steps back to coordinates, by the extremes of the file."""
    steps = np.frombuffer(base64.b64decode(text), dtype="<u2").reshape(2, -1).T.astype(float)
    low, high = frame[["x", "y"]].min().to_numpy(), frame[["x", "y"]].max().to_numpy()
    return low + steps / (ABSENT - 1) * (high - low)


def test_coordinates_survive_within_half_a_step(make_probe: Callable[..., Path]) -> None:
    folder = make_probe(n=200, reps=("neurons", "pca"))
    packed = payload(map_sources([read_probe(folder)]))
    (source,) = packed["sources"]
    written = pd.read_csv(folder / "coordinates.tsv", sep="\t")
    assert [(m["rep"], m["method"]) for m in source["maps"]] == [
        (rep, method) for rep in ("neurons", "pca") for method in ("pca", "tsne", "umap")
    ]
    for entry in source["maps"]:
        own = written[(written.rep == entry["rep"]) & (written.method == entry["method"])]
        names = packed["cells"][source["cells"]]
        assert names == own["cell"].tolist()
        half = np.ptp(own[["x", "y"]].to_numpy(), axis=0) / (ABSENT - 1) / 2
        off = np.abs(decoded(entry["xy"], own) - own[["x", "y"]].to_numpy())
        assert (off <= half * 1.0001).all()
    labels = np.array(source["label"]["names"])[source["label"]["codes"]]
    assert labels.tolist() == own["label"].tolist()


def test_clusters_and_held_out_answers_go_along(
    make_probe: Callable[..., Path], make_cluster: Callable[..., Path]
) -> None:
    probe, cluster = make_probe(n=120, reps=("neurons",)), make_cluster(n=120)
    packed = payload(map_sources([read_probe(probe), read_cluster(cluster)]))
    first, second = packed["sources"]
    assert first["cells"] == second["cells"] == 0
    answers = pd.read_csv(probe / "predictions.tsv", sep="\t")
    given = first["prediction"]
    assert np.array(given["names"])[given["codes"]].tolist() == answers["prediction"].tolist()
    assigned = pd.read_csv(cluster / "clusters.tsv", sep="\t", dtype=str)
    own = second["clusters"]["pca"]
    assert np.array(own["names"])[own["codes"]].tolist() == (
        assigned[assigned.rep == "pca"]["cluster"].tolist()
    )


def test_missing_coordinates_labels_and_answers(make_probe: Callable[..., Path]) -> None:
    folder = make_probe(n=30, reps=("neurons",))
    table = pd.read_csv(folder / "coordinates.tsv", sep="\t")
    table.loc[(table.method == "umap") & (table.index % 3 == 0), "x"] = np.nan
    table.loc[table.cell == table.cell[1], "label"] = ""
    table.to_csv(folder / "coordinates.tsv", sep="\t", index=False)
    answers = pd.read_csv(folder / "predictions.tsv", sep="\t")
    answers.iloc[5:].to_csv(folder / "predictions.tsv", sep="\t", index=False)
    packed = payload(map_sources([read_probe(folder)]))
    (source,) = packed["sources"]
    json.dumps(packed, allow_nan=False)
    umap = np.frombuffer(base64.b64decode(source["maps"][2]["xy"]), dtype="<u2")
    assert (umap == ABSENT).sum() == 2 * 10
    assert source["maps"][2]["words"].startswith("20 cells")
    assert source["label"]["names"] == ["excitatory", "inhibitory", "no label"]
    assert source["prediction"]["names"][source["prediction"]["codes"][0]] == "not held out"


def test_fifty_thousand_cells_are_shown_and_no_more(make_probe: Callable[..., Path]) -> None:
    folder = make_probe(n=10, reps=("neurons",))
    for n, shown in ((50_000, 50_000), (50_400, 50_000)):
        rows = {"cell": [f"c{i}" for i in range(n)], "rep": "neurons", "method": "umap"}
        rows |= {"x": np.arange(n), "y": 0.0, "label": np.where(np.arange(n) % 7, "a", "b")}
        pd.DataFrame(rows).to_csv(folder / "coordinates.tsv", sep="\t", index=False)
        (source,) = map_sources([read_probe(folder)])
        assert (len(source.table), source.cells) == (shown, n)
        assert source.thinned == (n > shown)
        assert abs((source.table["label"] == "b").mean() - 1 / 7) < 2 / shown
