"""``cellwright crop`` as a user types it."""

from __future__ import annotations

import csv
import json

import anndata
import h5py
import numpy as np
import pytest

from cellwright.data.simulate import simulate


@pytest.fixture
def file(tmp_path):
    simulate(300, 60).write_h5ad(tmp_path / "atlas.h5ad")
    return tmp_path / "atlas.h5ad"


def test_a_crop_is_written_and_told(run, file):
    out, report = file.with_name("crop.h5ad"), file.with_name("report.csv")
    typed = ("crop", file, "-o", out, "--cells", 40, "--genes", 12, "--report-csv", report)
    status, said, _ = run(*typed)
    assert status == 0
    assert "before  300 cells × 60 genes" in said and "after   40 cells × 12 genes" in said
    assert f"wrote {out}: 40 cells × 12 genes, " in said
    assert anndata.read_h5ad(out).shape == (40, 12)
    with report.open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["stage"], row["n_obs"], row["n_vars"]) for row in rows] == [
        ("before", "300", "60"),
        ("after", "40", "12"),
    ]
    first = out.read_bytes()
    status, said, log = run(*typed, "--force", "--json", "-q")
    facts = json.loads(said)
    assert (status, log) == (0, "") and out.read_bytes() == first
    assert facts["schema"] == "cellwright.crop/1"
    assert facts["before"]["shape"] == [300, 60] and facts["after"]["shape"] == [40, 12]
    assert facts["settings"]["strata"] == 4 and facts["out"] == str(out)


def test_without_options_the_published_defaults_hold(run, file):
    out = file.with_name("crop.h5ad")
    assert run("crop", file, "-o", out, "-q")[0] == 0
    made = anndata.read_h5ad(out)
    assert made.n_obs == 200
    params = made.uns["crop_params"]
    wanted = {"cells": 200, "genes": 500, "seed": 1, "strata": 4, "min_gene_detect_frac": 0.05}
    assert {key: params[key] for key in wanted} == wanted
    assert (params["alpha_detect"], params["beta_std"]) == (1.0, 0.5)
    assert run("crop", file, "-o", out, "--genes", "all", "--force", "-q")[0] == 0
    assert anndata.read_h5ad(out).uns["crop_params"]["genes"] == "all"


BAD = {
    "--genes is 'many', expected a number or 'all'": ("--genes", "many"),
    "--genes is '²', expected a number or 'all'": ("--genes", "²"),
    "cells is 0": ("--cells", 0),
    "min_gene_detect_frac is 5.0": ("--min-gene-detect-frac", 5),
    "has no matrix 'cuonts'": ("--layer", "cuonts"),
    "the folder": ("--report-csv", "/nowhere/r.csv"),
}


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_work_is_one_sentence(run, file, said):
    status, out, log = run("crop", file, "-o", file.with_name("crop.h5ad"), *BAD[said])
    assert (status, out) == (1, "")
    assert log.startswith("cellwright: ") and said in log and log.count("\n") == 1
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_damaged_file_is_one_sentence(run, file):
    """For every place of damage see tests/data/disk/test_damaged.py."""
    out = file.with_name("crop.h5ad")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    status, _, log = run("crop", file, "-o", out)
    assert status == 1 and log.count("\n") == 1
    assert f"cellwright: {file} is truncated: {len(whole) // 2:,} bytes of {len(whole):,}" in log
    file.write_bytes(whole)
    with h5py.File(file, "r+") as opened:
        name = "layers/counts" if "layers/counts" in opened else "X"
        opened[name]["indices"][0] = np.int32(4321)
    status, _, log = run("crop", file, "-o", out)
    assert status == 1 and "it holds the index 4321" in log and log.count("\n") == 1
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    status, _, log = run("crop", file.with_name("atlsa.h5ad"), "-o", out)
    assert status == 1 and "did you mean" in log and "atlas.h5ad" in log
