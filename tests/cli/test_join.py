"""``cellwright join`` as a user types it."""

from __future__ import annotations

import json

import anndata
import pytest

from cellwright.data.simulate import simulate
from cellwright.data.simulated_tables import write_tables


@pytest.fixture
def folder(tmp_path):
    cells = simulate(200, 30)
    cells.write_h5ad(tmp_path / "neurons.h5ad")
    write_tables(cells.obs.assign(x=1.5, y=2.5), tmp_path)
    return tmp_path


def words(folder):
    tables = ("cell_metadata.csv", "cluster.csv", "cluster_annotation_term.csv")
    return [w for name in tables for w in ("--table", folder / name)]


def test_reports_what_matches_and_writes(run, folder):
    out = folder / "joined.h5ad"
    status, said, log = run(
        "join", folder / "neurons.h5ad", *words(folder), "--add", "cluster_alias,label,description", "-o", out
    )  # fmt: skip
    assert status == 0
    assert "200 of 200 cells (100 %) match on obs_names = cell_label (found)" in said
    assert "there already, with the same values: cluster_alias" in said
    assert f"wrote {out}: 200 cells, " in said
    assert "cluster.csv: 200 of 200 cells" in log
    made = anndata.read_h5ad(out).obs
    assert (made["label"].astype(str) == "CS202210140_" + made["cluster_alias"].astype(str)).all()


def test_json_and_a_sidecar(run, folder):
    status, said, log = run(
        "join", folder / "neurons.h5ad", *words(folder), "--sidecar", "--json", "-q"
    )
    facts = json.loads(said)
    assert (status, log) == (0, "")
    assert facts["schema"] == "cellwright.join/1"
    assert facts["out"] == str(folder / "neurons.sidecar.h5")
    assert facts["tables"][0]["share"] == 1.0
    status, said, _ = run(
        "split", folder / "neurons.h5ad", "-o", folder / "split.h5ad", "--label", "description"
    )
    assert status == 0
    assert "description MGE interneuron" in said
    status, said, _ = run(
        "subset",
        folder / "neurons.h5ad",
        "-o",
        folder / "sub.h5ad",
        "--where",
        "label=CS202210140_210",
    )
    assert status == 0
    status, _, error = run("join", folder / "neurons.h5ad", *words(folder), "--sidecar")
    assert status == 1
    assert "neurons.sidecar.h5 exists already" in error


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--on", "obs_names=cell_barcode"), "pass --on obs_names=cell_label"),
        (("--add", "clustr_alias"), "did you mean 'cluster_alias'"),
        (("--on", "obs_names=cell_label", "--min-match", "2"), "2.0, expected 0 to 1"),
    ],
)
def test_bad_input_is_one_sentence(run, folder, more, told):
    out = folder / "out.h5ad"
    status, said, error = run(
        "join", folder / "neurons.h5ad", *words(folder)[:2], "-o", out, "-q", *more
    )
    assert (status, said) == (1, "")
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()
