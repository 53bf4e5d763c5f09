"""Coordinates and names of clusters as plain pandas reads and merges them."""

from __future__ import annotations

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from cellwright.data.prepare.map_names import base_type, cluster_names, find_cluster
from cellwright.data.prepare.map_table import read_points
from cellwright.errors import DataError, SettingsError

TYPES = ["MGE interneuron", "Splatter"]


@pytest.fixture
def cells() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "cell_label": [f"cell,{i}\n" for i in range(300)],
            "cluster_alias": rng.integers(200, 210, 300),
            "x": rng.normal(size=300).round(4),
            "y": rng.normal(size=300).round(4),
        }
    )
    table.loc[[3, 50], "x"] = np.nan
    table.loc[[7], "y"] = np.inf
    return table


def told(path) -> pd.DataFrame:
    points = read_points(path)
    aliases = np.array([*points.aliases, "none"])
    return pd.DataFrame(
        {"x": points.xy_n2[:, 0], "y": points.xy_n2[:, 1], "alias": aliases[points.code_n]}
    )


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_reads_what_pandas_reads(tmp_path, cells, delimiter, encoding):
    path = tmp_path / "cell_metadata.csv"
    cells.to_csv(path, sep=delimiter, encoding=encoding, index=False)
    kept = cells[np.isfinite(cells[["x", "y"]]).all(axis=1)]
    found = told(path)
    np.testing.assert_array_equal(found[["x", "y"]], kept[["x", "y"]])
    assert found["alias"].tolist() == kept["cluster_alias"].astype(str).tolist()
    points = read_points(path)
    assert (points.n_read, points.n_without_coordinates) == (300, 3)


def test_packed_tables_and_anndata_say_the_same(tmp_path, cells):
    cells.to_csv(tmp_path / "cells.csv", index=False)
    (tmp_path / "cells.csv.gz").write_bytes(gzip.compress((tmp_path / "cells.csv").read_bytes()))
    obs = cells.set_index(cells.index.astype(str)).drop(columns="cell_label")
    obs["cluster_alias"] = obs["cluster_alias"].astype(str).astype("category")
    ad.AnnData(np.ones((300, 2), dtype=np.float32), obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    expected = told(tmp_path / "cells.csv")
    for name in ("cells.csv.gz", "cells.h5ad"):
        pd.testing.assert_frame_equal(told(tmp_path / name), expected)


def test_whole_numbers_of_a_column_with_gaps(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y,cluster_alias\n1,2,2523.0\n1,2,\n1,2, 2523 \n1,2,a.0\n")
    points = read_points(path)
    assert points.aliases == ["2523", "a.0"]
    assert points.code_n.tolist() == [0, -1, 0, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,y,cluster_allias\n1,2,3\n", "did you mean 'cluster_allias'?"),
        ("x,y,cluster_alias\n1,2,3\n1,seven,3\n", "column 'y' holds 'seven' in row 2"),
        ('x;y;cluster_alias\n"1,5";2;3\n', "'1,5' in row 1"),
        ("x,y,cluster_alias\n,2,3\n1,NaN,3\n", "none of its 2 rows has a number in both 'x'"),
        ("x,y,cluster_alias\n", "none of its 0 rows"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "cells.csv"
    path.write_text(text)
    with pytest.raises(DataError) as raised:
        read_points(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


def test_obs_without_the_column_is_named(tmp_path):
    path = tmp_path / "a.h5ad"
    obs = pd.DataFrame({"x": ["a", "b"], "y": [1.0, 2.0]}, index=["c0", "c1"])
    ad.AnnData(np.ones((2, 2), dtype=np.float32), obs=obs).write_h5ad(path)
    with pytest.raises(DataError, match="'cluster_alias'"):
        read_points(path)
    with pytest.raises(DataError, match="column 'x' of obs holds string"):
        read_points(path, cluster="y")


@pytest.fixture
def tables(tmp_path):
    aliases = [str(a) for a in range(200, 206)]
    labels = [f"CS202210140_{a}" for a in aliases]
    clusters = pd.DataFrame({"cluster_alias": aliases, "label": labels})
    described = [f"{TYPES[i % 2]} (subcluster {i + 1})" for i in range(6)]
    described[5] = described[3]
    terms = pd.DataFrame({"label": labels[::-1], "description": described[::-1]})
    clusters.to_csv(tmp_path / "cluster.csv", index=False)
    terms.to_csv(tmp_path / "terms.csv", index=False)
    return clusters, terms, tmp_path


def test_names_are_those_of_a_merge(tables):
    clusters, terms, folder = tables
    asked = ["203", "200", "999", "201"]
    found = cluster_names(asked, folder / "cluster.csv", folder / "terms.csv")
    merged = pd.DataFrame({"cluster_alias": asked}).merge(clusters, how="left")
    merged = merged.merge(terms, how="left")
    for own, other in (("label", "label"), ("description", "description")):
        assert (
            found[own].tolist()
            == merged[other].astype(object).where(merged[other].notna(), None).tolist()
        )
    assert found["type"].tolist() == [TYPES[1], TYPES[0], None, TYPES[1]]
    assert cluster_names(asked)["type"].tolist() == asked
    assert cluster_names(["CS202210140_200"], terms=folder / "terms.csv")["type"][0] == TYPES[0]
    assert cluster_names(["200"], folder / "cluster.csv")["type"][0] == "CS202210140_200"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("MGE interneuron (subcluster 5)", "MGE interneuron"),
        ("Splatter (a) (Subcluster 12) ", "Splatter (a)"),
        ("(subcluster) of note", "(subcluster) of note"),
        ("Deep-layer near-projecting", "Deep-layer near-projecting"),
    ],
)
def test_base_type(description, expected):
    assert base_type(description) == expected


def test_a_highlight_is_found_or_the_right_alias_named(tables):
    folder = tables[2]
    names = cluster_names(
        [str(a) for a in range(200, 206)], folder / "cluster.csv", folder / "terms.csv"
    )
    assert find_cluster(" 202", names) == 2
    assert find_cluster("CS202210140_204", names) == 4
    assert find_cluster("MGE interneuron (subcluster 3)", names) == 2
    for given, said in {
        "MGE interneuron": "a whole type, of 3 subclusters (200, 202, 204)",
        "Splatter (subcluster 4)": "2 clusters (203, 205)",
        "CS1_203": "did you mean the alias '203'?",
        "2033": "did you mean '203'?",
        "MGE interneurons (subcluster 5)": "did you mean '204' (MGE interneuron (subcluster 5))?",
        "?": "there are 200, 201",
    }.items():
        with pytest.raises(SettingsError) as raised:
            find_cluster(given, names)
        assert said in str(raised.value)
        assert repr(given) in str(raised.value)


def test_tables_that_do_not_fit_are_named(tables):
    folder = tables[2]
    with pytest.raises(DataError, match="none of the 1 clusters of the cells \\(7\\)"):
        cluster_names(["7"], folder / "cluster.csv")
    (folder / "twice.csv").write_text("cluster_alias,label\n200,a\n200,b\n")
    with pytest.raises(DataError, match="two names to cluster_alias '200': 'a' and 'b'"):
        cluster_names(["200"], folder / "twice.csv")
    with pytest.raises(DataError, match="no column 'description'"):
        cluster_names(["200"], folder / "cluster.csv", folder / "cluster.csv")
