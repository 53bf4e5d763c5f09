"""``cellwright map`` as a user types it."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import cellwright
from cellwright.data.simulate import simulate_to_file
from cellwright.data.simulated_tables import write_tables
from cellwright.data.simulated_tissue import TissueSettings
from cellwright.report.palette import density_colours

SETTINGS = TissueSettings(n_genes=100, n_donors=3, n_libraries=4, clusters=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    obs = simulate_to_file(folder / "a.h5ad", 900, SETTINGS)
    write_tables(obs, folder)
    return folder


@pytest.fixture
def words(folder):
    return (
        *("map", "--metadata", folder / "cell_metadata.csv"),
        *("--clusters", folder / "cluster.csv"),
        *("--terms", folder / "cluster_annotation_term.csv"),
    )


def merged(folder) -> pd.DataFrame:
    cells = pd.read_csv(folder / "cell_metadata.csv")
    cells = cells.merge(pd.read_csv(folder / "cluster.csv"), on="cluster_alias")
    cells = cells.merge(pd.read_csv(folder / "cluster_annotation_term.csv"), on="label")
    cells["type"] = cells["description"].str.replace(r" \(subcluster \d+\)$", "", regex=True)
    return cells


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "html"])
def test_counts_are_those_of_pandas(run, words, folder, tmp_path, ending):
    out = tmp_path / f"map.{ending}"
    status, said, error = run(*words, "--top-k", 3, "--highlight", "2523,210", "-o", out, "--json")
    assert status == 0, error
    facts = json.loads(said)
    cells = merged(folder)
    sizes = cells.groupby("type").size().sort_values(ascending=False)
    assert facts["schema"] == "cellwright.map/1"
    assert {t["name"]: t["n"] for t in facts["types"]} == sizes.head(3).to_dict()
    assert [t["colour"] for t in facts["types"]] == density_colours(3)
    assert facts["others"] == sizes.iloc[3:].sum()
    assert facts["n_cells"] == 900 and facts["n_without_coordinates"] == 0
    own = cells[cells["cluster_alias"] == 2523]
    assert facts["highlighted"][0] == {
        "alias": "2523",
        "label": "CS202210140_2523",
        "description": own["description"].iloc[0],
        "n": len(own),
    }
    assert facts["highlighted"][1]["alias"] == "210"
    assert facts["bytes"] == out.stat().st_size > 5000


def test_without_tables_the_clusters_themselves(run, folder, tmp_path):
    out = tmp_path / "map.png"
    metadata = folder / "cell_metadata.csv"
    status, said, _ = run(
        "map", "--metadata", metadata, "--cluster", "library_label", "--top-k", 2, "-o", out
    )
    sizes = pd.read_csv(metadata)["library_label"].value_counts()
    assert status == 0
    for name, n in sizes.head(2).items():
        assert f"{name}  " in said and f"{n:,}" in said
    assert "Others" in said


def test_gaps_are_counted_and_shown(folder, tmp_path):
    cells = pd.read_csv(folder / "cell_metadata.csv")
    cells.loc[:9, "x"] = None
    cells.loc[100:119, "cluster_alias"] = None
    cells.to_csv(tmp_path / "cells.csv", index=False)
    result = cellwright.draw_map(
        tmp_path / "cells.csv",
        clusters=folder / "cluster.csv",
        terms=folder / "cluster_annotation_term.csv",
        out=tmp_path / "map.png",
    )
    assert (result.n_cells, result.n_without_coordinates, result.n_without_label) == (900, 10, 20)
    drawn = merged(folder).drop(index=[*range(10), *range(100, 120)])
    assert sum(t["n"] for t in result.types) == 870 and result.others == 0
    assert {t["name"]: t["n"] for t in result.types} == drawn["type"].value_counts().to_dict()
    assert "20" in result.text() and "no label" in result.text()
    assert "left out: 10 cells without coordinates" in result.text()


def test_no_cell_has_a_cluster(folder, tmp_path):
    cells = pd.read_csv(folder / "cell_metadata.csv").assign(cluster_alias=None)
    cells.to_csv(tmp_path / "cells.csv", index=False)
    result = cellwright.draw_map(tmp_path / "cells.csv", out=tmp_path / "map.html")
    assert (result.types, result.n_without_label) == ([], 900)


def test_a_label_or_description_stands_for_its_alias(run, words, folder, tmp_path):
    names = merged(folder).drop_duplicates("cluster_alias").set_index("cluster_alias")
    single = names[~names["description"].duplicated(keep=False)]
    alias, description = single.index[0], single["description"].iloc[0]
    out = tmp_path / "map.png"
    asked = ("--highlight", "CS202210140_210", "--highlight", description)
    status, said, error = run(*words, *asked, "-o", out, "--json")
    assert status == 0, error
    assert [h["alias"] for h in json.loads(said)["highlighted"]] == ["210", str(alias)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--top-k", 41), "--top-k is 41, expected 1 to 40"),
        (("--top-k", 0), "--top-k is 0"),
        (("--highlight", "25230"), "did you mean '2523'"),
        (("--highlight", "210,CS1_2523"), "did you mean the alias '2523'?"),
        (("--highlight", "MGE interneuron"), "'MGE interneuron': it is a whole type"),
        (("--x", "z"), "no column 'z'"),
        (("--cluster", "cluster_aliases"), "did you mean 'cluster_alias'?"),
        (("--terms", "no.csv"), "no.csv"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(run, words, tmp_path, more, said):
    status, _, error = run(*words, *more, "-o", tmp_path / "map.png")
    assert status == 1
    assert said in error.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(run, words, folder, tmp_path):
    status, _, error = run(*words, "-o", tmp_path / "map.jpg")
    assert status == 1 and "'.jpg'" in error
    status, _, error = run(*words, "-o", tmp_path / "no" / "map.png")
    assert status == 1 and "does not exist" in error
    out = tmp_path / "map.png"
    out.write_text("mine")
    status, _, error = run(*words, "-o", out)
    assert status == 1 and "--force" in error and out.read_text() == "mine"
    status, _, error = run("map", "--metadata", out, "-o", out, "--force")
    assert status == 1 and "one of the tables" in error and out.read_text() == "mine"
