"""Subsets compared with the selection anndata makes in memory, and what an unknown value means."""

from __future__ import annotations

import json
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellwright.data.prepare.join import join
from cellwright.data.prepare.subset import subset
from cellwright.data.prepare.where import parse_where
from cellwright.errors import DataError, RunError, SettingsError

N = 60


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    obs = pd.DataFrame(
        {
            "region": pd.Categorical(rng.choice(["Cerebral cortex", "Thalamus", "a, b"], N)),
            "donor": [f"d{i % 4}" for i in range(N)],
            "number": rng.choice([1.0, 2.0, np.nan], N),
        },
        index=[f"cell{i}" for i in range(N)],
    )
    var = pd.DataFrame(
        {"gene_symbol": list("ABCDE")}, index=[f"ENSG0000000000{i}.2" for i in range(5)]
    )
    cells = anndata.AnnData(sp.random(N, 5, 0.6, "csr", np.float32, rng), obs=obs, var=var)
    cells.layers["counts"] = cells.X.copy()
    cells.obsm["X_map"] = rng.normal(size=(N, 2))
    cells.write_h5ad(tmp_path / "atlas.h5ad")
    alias = rng.choice([210, 2523, 241], N)
    pd.DataFrame({"cell_label": obs.index, "cluster_alias": alias, "x": 1.5}).to_csv(
        tmp_path / "cell_metadata.csv", index=False
    )
    labels = pd.DataFrame(
        {"cluster_alias": [210, 241, 2523], "label": ["CS_210", "CS_241", "CS_2523"]}
    )
    labels.to_csv(tmp_path / "cluster.csv", index=False)
    described = ["MGE interneuron (subcluster 5)", "MGE interneuron (subcluster 5)", "Upper"]
    labels[["label"]].assign(description=described).to_csv(tmp_path / "terms.csv", index=False)
    return tmp_path


def tables(folder):
    return [folder / name for name in ("cell_metadata.csv", "cluster.csv", "terms.csv")]


def in_memory(folder):
    cells = anndata.read_h5ad(folder / "atlas.h5ad")
    table = pd.read_csv(folder / "cell_metadata.csv").set_index("cell_label")
    cells.obs["cluster_alias"] = table["cluster_alias"].reindex(cells.obs_names)
    return cells


def assert_same_cells(found, expected):
    assert found.obs_names.tolist() == expected.obs_names.tolist()
    assert found.var_names.tolist() == expected.var_names.tolist()
    np.testing.assert_array_equal(found.X.toarray(), expected.X.toarray())
    np.testing.assert_array_equal(
        found.layers["counts"].toarray(), expected.layers["counts"].toarray()
    )
    np.testing.assert_array_equal(found.obsm["X_map"], expected.obsm["X_map"])


def test_a_table_joined_on_the_fly(folder):
    out = folder / "out.h5ad"
    result = subset(
        folder / "atlas.h5ad",
        out,
        {"cluster_alias": [2523, 210], "region": "Cerebral cortex"},
        tables=tables(folder),
        add=["description"],
        label_as="subtype",
        label_prefix="cluster_",
        gene_list=["E", "ENSG00000000001", "nothing"],
    )
    cells = in_memory(folder)
    chosen = cells.obs["cluster_alias"].isin([2523, 210]) & (
        cells.obs["region"] == "Cerebral cortex"
    )
    expected, found = cells[chosen, [1, 4]], anndata.read_h5ad(out)
    assert_same_cells(found, expected)
    new = ["cluster_alias", "description", "subtype"]
    assert list(found.obs) == ["region", "donor", "number", *new]
    assert found.obs["cluster_alias"].tolist() == expected.obs["cluster_alias"].tolist()
    assert found.obs["subtype"].tolist() == [f"cluster_{a}" for a in expected.obs["cluster_alias"]]
    assert list(found.obs["subtype"].cat.categories) == ["cluster_2523", "cluster_210"]

    assert result.n_obs == (N, int(chosen.sum()))
    counts = {(c.column, c.value): (c.before, c.after) for c in result.counts}
    for alias in (2523, 210):
        has = cells.obs["cluster_alias"] == alias
        assert counts["cluster_alias", str(alias)] == (has.sum(), (has & chosen).sum())
    by = pd.crosstab(cells.obs["cluster_alias"], cells.obs["region"]).loc[[2523, 210]]
    assert result.cross.rows == ["2523", "210"]
    assert result.cross.counts == by[result.cross.columns].to_numpy().tolist()
    assert result.genes.missing == ["nothing"]
    assert f"wrote {out}: {chosen.sum():,} cells × 2 genes, " in result.text()
    assert result.text().endswith("kB")
    json.dumps(result.to_dict(), allow_nan=False)
    facts = json.loads(found.uns["cellwright"]["0001-subset"])
    assert facts["cells"] == {"before": N, "after": chosen.sum()}
    assert facts["where"]["cluster_alias=2523,210"] > 0
    assert facts["join"]["tables"] == ["cell_metadata.csv", "cluster.csv", "terms.csv"]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_conditions_select_what_pandas_selects(folder, data):
    cells = in_memory(folder)
    where, mask = {}, np.ones(N, dtype=bool)
    for column in data.draw(
        st.lists(st.sampled_from(["region", "donor", "number"]), min_size=1, unique=True)
    ):
        known = sorted(cells.obs[column].dropna().unique().tolist())
        where[column] = data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
        mask &= cells.obs[column].isin(where[column]).to_numpy()
    if not mask.any():
        with pytest.raises(DataError, match="no cell meets all of"):
            subset(folder / "atlas.h5ad", folder / "out.h5ad", where, force=True)
        return
    subset(folder / "atlas.h5ad", folder / "out.h5ad", where, force=True)
    assert_same_cells(anndata.read_h5ad(folder / "out.h5ad"), cells[mask])


def test_conditions_as_typed():
    found = parse_where(["cluster_alias=2523, 210", 'region="a, b",Thalamus', "x=a=b"])
    assert [(c.column, c.values) for c in found] == [
        ("cluster_alias", ("2523", "210")),
        ("region", ("a, b", "Thalamus")),
        ("x", ("a=b",)),
    ]
    assert parse_where({"n": 3.0, "t": "a, b"}) == parse_where(["n=3", 't="a, b"'])
    for wrong in ("cluster_alias", "=3", "cluster_alias=", "cluster_alias=,"):
        with pytest.raises(SettingsError, match=f"--where.*{wrong.split('=')[0]}"):
            parse_where([wrong])


@pytest.mark.parametrize(
    ("where", "joined", "told"),
    [
        ("cluster_alias=CS_2523", True, "is the label of cluster_alias 2523; give --where cluster_alias=2523"),
        ("cluster_alias=Upper", True, "is the description of cluster_alias 2523"),
        (
            "cluster_alias=MGE interneuron (subcluster 5)",
            True,
            "is the description of cluster_alias 210 and 241; give --where cluster_alias=210,241",
        ),
        ("cluster_alias=25233", True, "did you mean '2523'"),
        ("region=thalamus", False, "no cell has 'thalamus' in 'region': did you mean 'Thalamus'"),
        ("region=d1", False, "it is the donor of region"),
        ("number=CS_2", False, "looks like a name of number 2; give --where number=2"),
        ("regoin=Thalamus", False, "no column 'regoin' in obs: did you mean 'region'"),
        ("label=CS_210", False, "a table that has it is joined with --table"),
        ("clusteralias=1", True, "no column 'clusteralias' in obs or the tables: .*'cluster_alias'"),
    ],
)  # fmt: skip
def test_what_was_meant(folder, where, joined, told):
    with pytest.raises(DataError) as caught:
        subset(
            folder / "atlas.h5ad",
            folder / "out.h5ad",
            [where],
            tables=tables(folder) if joined else [],
        )
    assert re.search(told.replace("(", r"\(").replace(")", r"\)"), str(caught.value)), caught.value
    assert where.split("=")[1] in str(caught.value) or where.split("=")[0] in str(caught.value)
    assert not (folder / "out.h5ad").exists()


def test_a_label_is_recognised_where_only_the_first_table_is_given(folder):
    with pytest.raises(
        DataError, match=r"CS202210140_2523' .*looks like a name of cluster_alias 2523"
    ):
        subset(
            folder / "atlas.h5ad",
            folder / "out.h5ad",
            ["cluster_alias=CS202210140_2523"],
            tables=tables(folder)[:1],
        )


def test_a_sidecar_is_read(folder):
    atlas = folder / "atlas.h5ad"
    join(atlas, tables(folder), sidecar=True, add=["cluster_alias", "description"])
    result = subset(atlas, folder / "out.h5ad", ["description=Upper"], by="region")
    cells = in_memory(folder)
    expected = cells[cells.obs["cluster_alias"] == 2523]
    found = anndata.read_h5ad(folder / "out.h5ad")
    assert_same_cells(found, expected)
    assert found.obs["cluster_alias"].tolist() == expected.obs["cluster_alias"].tolist()
    assert result.cross.by == "region"
    assert "atlas.sidecar.h5 beside the file" in result.text()


def test_genes_alone_keep_every_cell(folder):
    (folder / "genes.txt").write_text("C\nA\n")
    subset(folder / "atlas.h5ad", folder / "out.h5ad", gene_list=folder / "genes.txt")
    assert_same_cells(anndata.read_h5ad(folder / "out.h5ad"), in_memory(folder)[:, [0, 2]])


def test_a_label_that_is_there_already(folder):
    atlas, out = folder / "atlas.h5ad", folder / "out.h5ad"
    with pytest.raises(DataError, match="'donor' already"):
        subset(atlas, out, ["region=Thalamus"], label_as="donor")
    subset(atlas, out, ["region=Thalamus"], label_as="region")
    subset(atlas, out, ["region=Thalamus"], label_as="donor", replace_columns=True, force=True)
    assert set(anndata.read_h5ad(out).obs["donor"]) == {"Thalamus"}


def test_settings_that_cannot_be(folder):
    atlas, out = folder / "atlas.h5ad", folder / "out.h5ad"
    with pytest.raises(SettingsError, match="nothing is chosen"):
        subset(atlas, out)
    with pytest.raises(SettingsError, match="--label-as subtype needs a --where"):
        subset(atlas, out, gene_list=["A"], label_as="subtype")
    with pytest.raises(SettingsError, match="--label-prefix cluster_ needs --label-as"):
        subset(atlas, out, ["region=Thalamus"], label_prefix="cluster_")


def test_nothing_of_the_users_is_written_over(folder):
    atlas = folder / "atlas.h5ad"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    where = ["cluster_alias=210"]
    with pytest.raises(DataError, match="it is the file being read"):
        subset(atlas, atlas, where, tables=tables(folder), force=True)
    (folder / "there.h5ad").write_bytes(b"mine")
    with pytest.raises(RunError, match=r"there\.h5ad exists already"):
        subset(atlas, folder / "there.h5ad", where, tables=tables(folder))
    with pytest.raises(DataError, match="does not exist"):
        subset(atlas, folder / "no" / "out.h5ad", where, tables=tables(folder))
    with pytest.raises(DataError, match="/proc"):
        subset(atlas, "/proc/out.h5ad", where, tables=tables(folder))
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(folder.glob(".*"))
