"""Joins compared with pandas' merge, and every way in which tables do not fit."""

from __future__ import annotations

import dataclasses

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellwright.data.columns import as_labels
from cellwright.data.disk.source import open_source
from cellwright.data.prepare.chains import try_names
from cellwright.data.prepare.csv_table import open_csv
from cellwright.data.prepare.join import cell_table, join
from cellwright.data.prepare.keys import keys_of
from cellwright.data.prepare.matching import look_up
from cellwright.data.prepare.sidecar import read_sidecar, sidecar_path, with_columns_beside
from cellwright.data.split import split
from cellwright.errors import DataError, RunError, SettingsError

N = 40


@pytest.fixture
def folder(tmp_path):
    """An atlas of 40 cells, and its three tables in another order and with more rows."""
    rng = np.random.default_rng(0)
    names = [f"lib{i % 3}:ACGT{i:03d}" for i in range(N)]
    obs = pd.DataFrame({"donor": pd.Categorical([f"d{i % 4}" for i in range(N)])}, index=names)
    cells = anndata.AnnData(sp.random(N, 6, 0.5, "csr", np.float32, rng), obs=obs)
    cells.write_h5ad(tmp_path / "atlas.h5ad")
    metadata = pd.DataFrame(
        {
            "cell_label": [*names, *(f"other{i}" for i in range(7))],
            "cell_barcode": [f"ACGT{i:03d}" for i in range(N + 7)],
            "cluster_alias": rng.choice([210, 2523, 7], N + 7),
            "x": rng.normal(size=N + 7),
        }
    )
    metadata.sample(frac=1, random_state=1).to_csv(tmp_path / "cell_metadata.csv", index=False)
    clusters = pd.DataFrame(
        {"cluster_alias": [7, 210, 2523, 9], "label": ["CS_7", "CS_210", "CS_2523", "CS_9"]}
    )
    clusters.to_csv(tmp_path / "cluster.csv", index=False)
    terms = pd.DataFrame(
        {"label": ["CS_2523", "CS_210", "CS_7"], "description": ["L5", "MGE", "CGE"]}
    )
    terms.to_csv(tmp_path / "cluster_annotation_term.csv", index=False)
    return tmp_path


def chain(folder):
    names = ("cell_metadata.csv", "cluster.csv", "cluster_annotation_term.csv")
    return [folder / name for name in names]


def merged(folder):
    """The same by pandas, in memory."""
    cells = pd.DataFrame({"cell_label": anndata.read_h5ad(folder / "atlas.h5ad").obs_names})
    read = [pd.read_csv(path, float_precision="round_trip") for path in chain(folder)]
    metadata, clusters, terms = read
    joined = cells.merge(metadata, how="left").merge(clusters, how="left")
    return joined.merge(terms, how="left").drop(columns="cell_label")


def table_of(folder, tables, *args, **kwargs):
    with open_source(folder / "atlas.h5ad") as source:
        return cell_table(source, tables, *args, **kwargs)


def assert_same(found, expected):
    assert list(found.columns) == list(expected.columns)
    for column in expected:
        assert as_labels(found[column]).tolist() == as_labels(expected[column]).tolist(), column


def test_a_chain_finds_its_own_keys(folder):
    joined = table_of(folder, chain(folder))
    assert_same(joined.columns, merged(folder))
    assert joined.columns["cluster_alias"].dtype == np.int64
    assert joined.columns["description"].dtype == "category"
    assert joined.columns["x"].dtype == np.float64
    said = [(m.left, m.right, m.chosen, m.n_matched) for m in joined.report.tables]
    assert said == [
        ("obs_names", "cell_label", "found", N),
        ("cluster_alias", "cluster_alias", "found", N),
        ("label", "label", "found", N),
    ]
    first = joined.report.tables[0]
    assert (first.n_rows, first.n_left_over) == (N + 7, 7)
    assert set(first.examples["left_over_rows"]) < {f"other{i}" for i in range(7)}
    assert len(first.examples["left_over_rows"]) == len(first.examples["cells"]) == 5


def test_keys_may_be_given_and_columns_chosen(folder):
    on = ["obs_names=cell_label", "cluster_alias"]
    joined = table_of(folder, chain(folder), on, ["description", "cell_label"])
    assert_same(joined.columns[["description"]], merged(folder)[["description"]])
    names = anndata.read_h5ad(folder / "atlas.h5ad").obs_names
    assert joined.columns["cell_label"].tolist() == names.tolist()
    assert [m.chosen for m in joined.report.tables] == ["given", "given", "found"]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_spaces_other_delimiters_and_a_mark_of_order(folder, mark):
    table = pd.read_csv(folder / "cell_metadata.csv").astype({"cluster_alias": str})
    table["cell_label"] = " " + table["cell_label"] + "  "
    table.to_csv(folder / "odd.csv", sep=mark, index=False, encoding="utf-8-sig")
    joined = table_of(folder, [folder / "odd.csv"], add=["cluster_alias"])
    assert_same(joined.columns, merged(folder)[["cluster_alias"]])
    assert joined.report.tables[0].n_stripped["table"] == N + 7
    assert "spaces     around 47 ids of the table" in joined.report.text()


def test_gaps_give_nullable_numbers_and_blank_keys_match_nothing(folder):
    metadata = pd.read_csv(folder / "cell_metadata.csv")
    metadata["cluster_alias"] = metadata["cluster_alias"].where(metadata.index % 10 > 0)
    metadata.to_csv(folder / "gaps.csv", index=False)
    assert ".0," in (folder / "gaps.csv").read_text()
    text = (folder / "gaps.csv").read_text().replace(".0,", ",")
    (folder / "gaps.csv").write_text(text)
    tables = [folder / "gaps.csv", folder / "cluster.csv"]
    joined = table_of(folder, tables, add=["cluster_alias", "label"], min_match=0.5)
    assert joined.columns["cluster_alias"].dtype == "Int64"
    blank = joined.columns["cluster_alias"].isna()
    assert 0 < blank.sum() < 8
    assert (joined.columns["label"].isna() == blank).all()
    match = joined.report.tables[1]
    assert match.n_keyed == match.n_matched == N - blank.sum()
    assert match.share == 1.0


def test_numbers_once_written_with_a_point_still_match(folder):
    (folder / "floats.csv").write_text("alias,name\n210.0,a\n2523.0,b\n7.0,c\n")
    tables = [folder / "cell_metadata.csv", folder / "floats.csv"]
    joined = table_of(folder, tables, ["obs_names=cell_label", "cluster_alias=alias"], ["name"])
    expected = merged(folder)["cluster_alias"].map({210: "a", 2523: "b", 7: "c"})
    assert as_labels(joined.columns["name"]).tolist() == expected.tolist()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_table_is_joined_as_pandas_does_whatever_the_pieces(tmp_path, data):
    ids = data.draw(st.lists(st.sampled_from("abcdefghij"), min_size=1, unique=True))
    cells = data.draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=20))
    value = st.one_of(
        st.integers(-5, 5).map(str), st.sampled_from(["", "1.5", "01", "x", "NA", "True"])
    )
    rows = [[i, data.draw(value), data.draw(value)] for i in ids]
    repeats = data.draw(st.lists(st.sampled_from(rows), max_size=4))
    table = pd.DataFrame(rows + repeats, columns=["id", "u", "v"])
    table.to_csv(tmp_path / "t.csv", index=False)
    opened = dataclasses.replace(
        open_csv(tmp_path / "t.csv"), at_once=data.draw(st.integers(3, 60))
    )
    found, match = look_up(opened, "id", keys_of("obs_names", pd.Index(cells)), ["u", "v"])
    once = pd.read_csv(
        tmp_path / "t.csv", dtype={"id": str}, keep_default_na=False
    ).drop_duplicates()
    texts = pd.DataFrame(rows, columns=["id", "u", "v"]).replace({"": None, "NA": None})
    expected = pd.DataFrame({"id": cells}).merge(texts, on="id", how="left")
    for column in ("u", "v"):
        number = found[column].dtype == np.float64
        for mine, theirs in zip(found[column], expected[column], strict=True):
            if pd.isna(theirs):
                assert pd.isna(mine)
            else:
                assert mine == float(theirs) if number else str(mine) == theirs
    assert match.n_matched == sum(cell in ids for cell in cells)
    assert match.n_left_over == sum(i not in cells for i in table["id"])
    assert match.n_repeated == sum(row[0] in cells for row in repeats)
    assert match.n_rows == len(once) + len(repeats)


def test_a_late_word_makes_the_column_text_from_the_start(tmp_path):
    (tmp_path / "t.csv").write_text("id,v\na,1.50\nb,2\nc,x1\n")
    table = dataclasses.replace(open_csv(tmp_path / "t.csv"), at_once=2)
    found, match = look_up(table, "id", keys_of("obs_names", pd.Index(["b", "a"])), ["v"])
    assert found["v"].tolist() == ["2", "1.50"]
    assert match.n_rows == 3


def test_duplicated_keys(folder):
    table = pd.read_csv(folder / "cell_metadata.csv")
    inside = table[~table["cell_label"].str.startswith("other")]
    pd.concat([table, inside[:3]]).to_csv(folder / "again.csv", index=False)
    joined = table_of(folder, [folder / "again.csv"])
    assert joined.report.tables[0].n_repeated == 3
    assert "3 repeat the row of a cell exactly" in joined.report.text()

    other = inside[:2].assign(cluster_alias=99)
    pd.concat([table, other]).to_csv(folder / "differ.csv", index=False)
    with pytest.raises(DataError, match="several rows for cell_label") as caught:
        table_of(folder, [folder / "differ.csv"])
    assert str(other["cell_label"].iloc[0]) in str(caught.value)
    assert "'99'" in str(caught.value)
    joined = table_of(folder, [folder / "differ.csv"], duplicates="first")
    assert_same(joined.columns[["cluster_alias"]], merged(folder)[["cluster_alias"]])
    assert joined.report.tables[0].n_conflicts == 2


def test_cells_that_share_a_name_are_counted(folder):
    cells = anndata.read_h5ad(folder / "atlas.h5ad")
    with pytest.warns(UserWarning, match="not unique"):
        anndata.concat([cells, cells[:2]]).write_h5ad(folder / "atlas.h5ad")
    joined = table_of(folder, chain(folder))
    assert joined.report.tables[0].n_shared == 4
    assert joined.columns["x"].iloc[N] == joined.columns["x"].iloc[0]


@pytest.mark.parametrize(
    ("on", "add", "told"),
    [
        (["obs_names=cell_lable"], None, "no column 'cell_lable': did you mean 'cell_label'"),
        (["obs_name=cell_label"], None, "no column 'obs_name' .*did you mean 'obs_names'"),
        (["cell_label=obs_names"], None, "wrong way round.*--on obs_names=cell_label"),
        ([], ["cluster_alais"], "no column 'cluster_alais' to add: did you mean 'cluster_alias'"),
        (
            ["obs_names=cell_barcode"],
            None,
            "no cell matches .*lib0:ACGT000.*'cell_label' matches 100",
        ),
    ],
)
def test_wrong_columns(folder, on, add, told):
    with pytest.raises(DataError, match=told):
        table_of(folder, chain(folder)[:1], on, add)


def test_settings_that_cannot_be(folder):
    with pytest.raises(SettingsError, match="--on is 'obs_names='"):
        table_of(folder, chain(folder), ["obs_names="])
    with pytest.raises(SettingsError, match="2 --on are given for 1 tables"):
        table_of(folder, chain(folder)[:1], ["a=b", "c=d"])
    with pytest.raises(SettingsError, match=r"1\.5, expected 0 to 1"):
        table_of(folder, chain(folder), min_match=1.5)
    with pytest.raises(SettingsError, match="no table"):
        table_of(folder, [])
    with pytest.raises(SettingsError, match="give one of both"):
        join(folder / "atlas.h5ad", chain(folder))


def test_too_few_matches(folder):
    table = pd.read_csv(folder / "cell_metadata.csv")
    gone = table["cell_label"].isin([f"lib{i % 3}:ACGT{i:03d}" for i in range(10)])
    table[~gone].to_csv(folder / "few.csv", index=False)
    with pytest.raises(DataError, match=r"only 30 of 40 cells \(75 %\)") as caught:
        table_of(folder, [folder / "few.csv"])
    assert "cells are called lib0:ACGT000, lib1:ACGT001" in str(caught.value)
    assert "the table has other" in str(caught.value)
    assert "--min-match 0.75" in str(caught.value)
    joined = table_of(folder, [folder / "few.csv"], min_match=0.75)
    assert joined.columns["x"].isna().sum() == 10


def test_no_overlap_and_nothing_in_common(folder):
    with pytest.raises(DataError, match="have nothing in common") as caught:
        table_of(folder, [folder / "cluster_annotation_term.csv"])
    assert "lib0:ACGT000" in str(caught.value)
    assert "label, description" in str(caught.value)


def test_two_columns_that_fit_equally_well(folder):
    (folder / "both.csv").write_text(
        "cluster_alias,label,n\n7,CS_7,1\n210,CS_210,2\n2523,CS_2523,3\n"
    )
    tables = [*chain(folder)[:2], folder / "both.csv"]
    with pytest.raises(DataError, match=r"equally well .*--on"):
        table_of(folder, tables)
    on = ["obs_names=cell_label", "cluster_alias", "cluster_alias"]
    joined = table_of(folder, tables, on, ["n"])
    assert set(joined.columns["n"]) <= {1, 2, 3}


def test_the_names_are_tried_against_every_column(folder):
    with open_source(folder / "atlas.h5ad") as source:
        tried = try_names(open_csv(folder / "cell_metadata.csv"), source.obs.index())
    assert (tried[0].right, tried[0].share) == ("cell_label", 1.0)
    assert {c.share for c in tried[1:]} == {0.0}


def test_a_column_that_is_there_already(folder):
    names = anndata.read_h5ad(folder / "atlas.h5ad").obs_names
    donors = [f"d{i % 4}" for i in range(N)]
    table = pd.DataFrame({"id": names, "donor": donors, "n": range(N)})
    table.to_csv(folder / "same.csv", index=False)
    joined = table_of(folder, [folder / "same.csv"])
    assert list(joined.columns) == ["n"]
    assert joined.report.kept == ["donor"]
    table.assign(donor=["d9", *donors[1:]]).to_csv(folder / "other.csv", index=False)
    with pytest.raises(DataError, match=r"'donor' already, .*d0 there, d9 in the table, in cell 1"):
        table_of(folder, [folder / "other.csv"])
    joined = table_of(folder, [folder / "other.csv"], replace_columns=True)
    assert joined.report.replaced == ["donor"]
    assert joined.columns["donor"].iloc[0] == "d9"


def test_a_name_no_h5ad_can_hold(folder):
    names = anndata.read_h5ad(folder / "atlas.h5ad").obs_names
    pd.DataFrame({"id": names, "a/b": 1}).to_csv(folder / "slash.csv", index=False)
    with pytest.raises(DataError, match="'a/b'"):
        table_of(folder, [folder / "slash.csv"])


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_the_file_written_is_the_old_one_and_the_columns(folder, ending):
    out = folder / f"out.{ending}"
    result = join(folder / "atlas.h5ad", chain(folder), out=out)
    read = anndata.read_h5ad if ending == "h5ad" else anndata.read_zarr
    before, after = anndata.read_h5ad(folder / "atlas.h5ad"), read(out)
    assert (after.X != before.X).nnz == 0
    assert after.obs_names.equals(before.obs_names)
    assert list(after.obs.columns) == ["donor", *merged(folder).columns]
    assert_same(after.obs.drop(columns="donor").reset_index(drop=True), merged(folder))
    facts = after.uns["cellwright"]["0001-join"]
    assert '"cell_metadata.csv"' in facts
    assert str(folder) not in facts
    assert result.to_dict()["added"] == list(merged(folder).columns)


def test_a_sidecar_is_read_and_verified(folder):
    atlas = folder / "atlas.h5ad"
    bytes_before = atlas.read_bytes()
    join(atlas, chain(folder), sidecar=True)
    assert sidecar_path(atlas) == folder / "atlas.sidecar.h5"
    assert atlas.read_bytes() == bytes_before
    with open_source(atlas) as source:
        assert_same(read_sidecar(source), merged(folder))
    beside = with_columns_beside(atlas).obs
    assert beside["cluster_alias"].tolist() == merged(folder)["cluster_alias"].tolist()
    made = split(atlas, label="description", by="none")
    assert made.assignment.index.equals(beside.index)
    with pytest.raises(RunError, match="exists already"):
        join(atlas, chain(folder), sidecar=True)
    join(atlas, chain(folder), sidecar=True, force=True, add=["x"])
    assert list(with_columns_beside(atlas).obs) == ["donor", "x"]

    anndata.read_h5ad(atlas)[::-1].copy().write_h5ad(atlas)
    with pytest.raises(DataError, match="written for other cells"), open_source(atlas) as source:
        read_sidecar(source)
    sidecar_path(atlas).write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"atlas\.sidecar\.h5"), open_source(atlas) as source:
        read_sidecar(source)


def test_nothing_of_the_users_is_written_over(folder):
    atlas, tables = folder / "atlas.h5ad", chain(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(DataError, match=r"atlas\.h5ad: it is the file being read"):
        join(atlas, tables, out=atlas, force=True)
    with pytest.raises(DataError, match=r"cluster\.csv: it is read from"):
        join(atlas, tables, out=folder / "cluster.csv", force=True)
    (folder / "there.h5ad").write_bytes(b"mine")
    with pytest.raises(RunError, match=r"there\.h5ad exists already"):
        join(atlas, tables, out=folder / "there.h5ad")
    with pytest.raises(DataError, match="does not exist"):
        join(atlas, tables, out=folder / "no" / "out.h5ad")
    (folder / "bad.csv").write_text("cell_label,n\nlib0:ACGT000,1\nlib1:ACGT001,2,3\n")
    with pytest.raises(DataError, match=r"bad\.csv is damaged"):
        join(atlas, [folder / "bad.csv"], out=folder / "out.h5ad")
    assert not (folder / "out.h5ad").exists()
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(folder.glob(".*"))
