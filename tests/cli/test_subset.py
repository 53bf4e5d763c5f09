"""``cellwright subset`` as a user types it."""

from __future__ import annotations

import json

import anndata
import pytest

from cellwright.data.simulate import simulate
from cellwright.data.simulated_tables import write_tables


@pytest.fixture
def folder(tmp_path):
    cells = simulate(300, 30)
    write_tables(cells.obs.assign(x=1.5, y=2.5), tmp_path)
    del cells.obs["cluster_alias"]
    cells.write_h5ad(tmp_path / "neurons.h5ad")
    return tmp_path


def test_two_clusters_of_one_region(run, folder):
    out = folder / "two.h5ad"
    typed = (
        "subset", folder / "neurons.h5ad", "--table", folder / "cell_metadata.csv",
        "--where", "cluster_alias=2523,210", "--where", "anatomical_division_label=Cerebral cortex",
        "--label-as", "subtype", "--label-prefix", "cluster_", "-o", out,
    )  # fmt: skip
    status, said, _ = run(*typed)
    assert status == 0
    assert "cluster_alias by anatomical_division_label" in said
    made = anndata.read_h5ad(out)
    assert set(made.obs["subtype"]) == {"cluster_2523", "cluster_210"}
    assert set(made.obs["anatomical_division_label"]) == {"Cerebral cortex"}
    assert f"wrote {out}: {made.n_obs} cells × 30 genes, " in said
    status, said, log = run(*typed, "--force", "--json", "-q")
    facts = json.loads(said)
    assert (status, log) == (0, "")
    assert facts["schema"] == "cellwright.subset/1"
    assert facts["n_obs"] == {"before": 300, "after": made.n_obs}
    assert facts["cross"]["by"] == "anatomical_division_label"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--where", "cluster_alias=CS202210140_2523"), "give --where cluster_alias=2523"),
        (("--where", "cluster_alais=2523"), "did you mean 'cluster_alias'"),
        (("--where", "cluster_alias"), "expected COLUMN=VALUE"),
        ((), "nothing is chosen"),
        (("--gene-list", "nothing.txt"), "nothing.txt"),
    ],
)
def test_bad_input_is_one_sentence(run, folder, more, told):
    out = folder / "out.h5ad"
    table = folder / "cell_metadata.csv"
    status, said, error = run(
        "subset", folder / "neurons.h5ad", "--table", table, "-o", out, "-q", *more
    )
    assert (status, said) == (1, "")
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()
