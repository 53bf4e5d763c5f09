"""From a file of normal cells to a simulated cohort, as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from typer.testing import CliRunner

from cellwright.cli.main import app
from cellwright.data.simulate import simulate
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.workflows.disease_simulation import simulate_disease_file


@pytest.fixture(scope="module")
def cells():
    return simulate(300, 200, seed=1, n_donors=2, n_libraries=2)


@pytest.fixture
def file(cells, tmp_path):
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    return path


def names(cells, columns):
    return ",".join(cells.var_names[columns])


def test_what_is_in_the_file(cells, file, tmp_path):
    before = file.read_bytes()
    up, down = names(cells, [0, 1]) + ",NOPE", names(cells, [2, 3, 4])
    out = tmp_path / "cohort.h5ad"
    result = CliRunner().invoke(
        app,
        ["disease", "simulate", str(file), "--up", up, "--down", down, "--dose", "0.5,1",
         "--down-name", "ALS", "--type-column", "subclass", "-o", str(out)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "up: 2 of 3 genes of up found; missing: NOPE; fold 2" in result.stdout
    assert "ALS: 3 of 3 genes" in result.stdout and "each cell in one state" in result.stdout
    made = read_h5ad(out)
    assert file.read_bytes() == before and made.shape == cells.shape
    assert made.obs_names.equals(cells.obs_names)
    assert (made.obs["base_cell"].astype(str) == made.obs_names).all()
    assert made.obs["state"].value_counts().to_dict().keys() == {"up", "ALS", "normal"}
    assert set(made.obs["dose"]) == {0.0, 0.5, 1.0}
    assert made.obs["shows_disease"].equals(made.obs["state"] != "normal")
    (key,) = [k for k in made.uns["cellwright"] if k.endswith("disease-simulate")]
    noted = json.loads(made.uns["cellwright"][key])
    assert noted["programs"]["up"]["missing"] == ["NOPE"] and noted["doses"] == [0.5, 1.0]
    for column, state in ((0, "up"), (2, "ALS")):
        changed = (made.X[:, column] != cells.X[:, column]).toarray().ravel()
        assert changed.any() and not changed[(made.obs["state"] != state).to_numpy()].any()


def test_paired_cells_have_names_of_their_own_and_a_warning(cells, tmp_path):
    out = tmp_path / "paired.h5ad"
    found = simulate_disease_file(cells, out, up=names(cells, [0]), paired=True, dose=(0.5, 2.0))
    made = read_h5ad(out)
    assert made.n_obs == 900 and made.obs_names.is_unique
    assert made.obs["base_cell"].astype(str).value_counts().eq(3).all()
    assert "split by obs['base_cell']" in found.text()
    assert found.to_dict()["schema"] == "cellwright.disease-simulate/1"
    assert [row["cells"] for row in found.to_dict()["states"]] == [300, 300, 300]


def test_only_some_types_show_it(cells, tmp_path):
    kind = str(cells.obs["subclass"].iloc[0])
    out = tmp_path / "some.h5ad"
    simulate_disease_file(
        cells, out, up=names(cells, [0, 1, 2]), type_column="subclass", cell_type=[kind]
    )
    obs = read_h5ad(out).obs
    assert set(obs["subclass"][obs["shows_disease"]].astype(str)) == {kind}


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, SettingsError, "neither --up nor --down names genes"),
        ({"up": "NOPE"}, DataError, "NOPE"),
        ({"up": "G", "fold_up": 0.5}, SettingsError, "--fold-up is 0.5"),
        ({"up": "G", "fold_down": 0.0}, SettingsError, "--fold-down is 0"),
        ({"up": "G", "dose": (0.0,)}, SettingsError, "doses are 0"),
        ({"up": "G", "cell_type": ["x"]}, SettingsError, "--cell-type x needs --type-column"),
        ({"up": "G", "type_column": "subclas"}, DataError, "did you mean 'subclass'"),
        (
            {"up": "G", "type_column": "cell_class", "cell_type": ["excitator"]},
            DataError,
            "no cell is of the type 'excitator'.*did you mean 'excitatory'",
        ),
        ({"up": "G", "down": "G"}, SettingsError, r"^\S+ is in 'up' and in 'down'"),
        ({"up": "G", "up_name": "normal"}, SettingsError, "cannot be called 'normal'"),
    ],
)
def test_what_cannot_work_is_named_and_writes_nothing(options, error, said, cells, tmp_path):
    gene = names(cells, [0])
    given = {k: gene if v == "G" else v for k, v in options.items()}
    with pytest.raises(error, match=said):
        simulate_disease_file(cells, tmp_path / "out.h5ad", **given)
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_simulated(cells, tmp_path):
    gene, out = names(cells, [0]), tmp_path / "out.h5ad"
    simulate_disease_file(cells, out, up=gene)
    with pytest.raises(RunError, match="exists already"):
        simulate_disease_file(cells, out, up=gene)
    with pytest.raises(DataError, match="a column 'state' already"):
        simulate_disease_file(out, tmp_path / "again.h5ad", up=gene)
    logged = AnnData(np.log1p(cells.X.toarray()), obs=cells.obs[[]], var=cells.var)
    with pytest.raises(DataError, match="log"):
        simulate_disease_file(logged, tmp_path / "again.h5ad", up=gene)
    result = CliRunner().invoke(
        app, ["disease", "simulate", str(out), "--up", gene, "--dose", "1;2", "-o", "x.h5ad"]
    )
    assert result.exit_code == 1 and "--dose '1;2' is no list of numbers" in str(result.exception)
