"""``cellwright ldvae`` from cells to a run folder: what is fitted on, what stands there, bad input."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from scipy import stats
from typer.testing import CliRunner

from cellwright.cli.main import app
from cellwright.data.reading import read_cells
from cellwright.errors import (
    CellwrightError,
    DataError,
    Interrupted,
    MissingExtra,
    RunError,
    SettingsError,
)
from cellwright.representations.ldvae import LDVAERun
from cellwright.representations.loading import load
from cellwright.training.linear_vae_settings import LDVAESettings
from cellwright.workflows.embed import embed
from cellwright.workflows.ldvae import ldvae, read_ldvae
from cellwright.workflows.ldvae_cells import lie_on_disk
from cellwright.workflows.ldvae_enrichment import enrichment, top_genes

CELLS, GENES, BLOCK = 240, 120, 20
QUICK = {"latent": 2, "epochs": 4, "batch_size": 32, "split_by": "none"}


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Cells of two types that differ in one block of genes, in two states and three batches."""
    rng = np.random.default_rng(0)
    kind_n = rng.integers(0, 2, CELLS)
    mean_ng = np.full((CELLS, GENES), 3.0)
    mean_ng[kind_n == 1, :BLOCK] *= 6
    made = AnnData(sp.csr_matrix(rng.poisson(mean_ng).astype(np.float32)))
    made.obs_names = [f"c{i}" for i in range(CELLS)]
    made.var_names = [f"G{j}" for j in range(GENES)]
    made.obs["cell_type"] = np.array(["a", "b"])[kind_n]
    made.obs["state"] = np.where(np.arange(CELLS) % 4 == 0, "sick", "normal")
    made.obs["run"] = np.array(["x", "y", "z"])[np.arange(CELLS) % 3]
    return made


@pytest.fixture(scope="module")
def file(cells: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    cells.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def gmt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "sets.gmt"
    block = "\t".join(f"g{j}" for j in range(BLOCK))
    other = "\t".join(f"G{j}" for j in range(60, 90))
    path.write_text(f"BLOCK\tplanted\t{block}\nOTHER\tnothing\t{other}\n")
    return path


@pytest.fixture(scope="module")
def folder(file: Path, gmt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    settings = {**QUICK, "epochs": 40, "learning_rate": 0.02}
    ldvae(file, out, gene_sets=gmt, **settings)
    return out


def test_the_folder_holds_what_was_found(folder: Path, cells: AnnData) -> None:
    result = read_ldvae(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["schema"] == "cellwright.ldvae/1"
    for part in ("train", "val"):
        whole = metrics["reconstruction"][part] + metrics["kl"][part]
        assert metrics["elbo"][part] == pytest.approx(-whole)
    assert -metrics["elbo"]["val"] == pytest.approx(result.history["val_loss"].min(), rel=1e-6)
    # Of 240 cells 48 test and 60 sick ones, 12 of them in both, are not used.
    sizes = metrics["cells"]
    assert sizes["train"] + sizes["val"] == 144
    assert sizes["not used"] == 96
    loadings = pd.read_csv(folder / "loadings.tsv", sep="\t", index_col=0)
    np.testing.assert_allclose(loadings[["Z_0", "Z_1"]], result.loadings(), rtol=1e-4, atol=1e-6)
    for name in ("elbo", "loadings", "umap"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 5_000
    assert set(pd.read_csv(folder / "umap.tsv", sep="\t")["label"]) == {"normal", "sick"}


def test_the_planted_block_is_enriched(folder: Path) -> None:
    found = pd.read_csv(folder / "enrichment.tsv", sep="\t")
    assert found.loc[0, "set"] == "BLOCK"
    assert found.loc[0, "q"] < 1e-6
    # Beside a block of a sixth of all genes the other genes lie a little to the other side.
    block, other = (found.loc[found["set"] == name, "t"].abs().max() for name in ("BLOCK", "OTHER"))
    assert not other > block / 4


def test_only_normal_training_and_validation_cells_were_seen(folder: Path, cells: AnnData) -> None:
    run = load(folder)
    assert isinstance(run, LDVAERun)
    seen_n = run.seen(cells)
    assert (seen_n[cells.obs["state"] == "sick"] == "clean").all()
    assert (seen_n == "seen-unlabelled").sum() == 144


def test_the_run_embeds_cells(folder: Path, cells: AnnData) -> None:
    done = embed(folder, cells)
    assert done.cells is not None
    assert done.cells.obsm["X_first"].shape == (CELLS, 2)
    assert done.cells.varm["first"].shape == (GENES, 2)
    kind_n = (cells.obs["cell_type"] == "b").to_numpy()
    apart = [stats.ranksums(v[kind_n], v[~kind_n]).pvalue for v in done.vectors_nd.T]
    assert min(apart) < 1e-20


def test_fitting_on_training_cells_of_every_state_and_batches(file: Path, tmp_path: Path) -> None:
    result = ldvae(
        file, tmp_path / "all", fit_on="train", batch_key="run", library="latent", **QUICK
    )
    assert result.metrics["cells"]["train"] == 168
    assert result.metrics["batches"] == ["x", "y", "z"]
    assert result.metrics["kl_library"]["val"] > 0
    assert load(tmp_path / "all").model.size.batches == 3


def test_a_stopped_run_continues_to_the_same_weights(
    file: Path, tmp_path: Path, folder: Path
) -> None:
    whole = ldvae(file, tmp_path / "whole", **QUICK)

    def stop(progress, _):
        if progress.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        ldvae(file, tmp_path / "cut", on_step=stop, **QUICK)
    with pytest.raises(RunError, match="--resume"):
        ldvae(file, tmp_path / "cut", **QUICK)
    with pytest.raises(SettingsError, match="latent is 3"):
        ldvae(file, tmp_path / "cut", resume=True, latent=3)
    continued = ldvae(file, tmp_path / "cut", resume=True)
    for name in ("model.safetensors", "last.safetensors"):
        assert (whole.folder / name).read_bytes() == (continued.folder / name).read_bytes()


def test_from_disk_the_result_is_the_same(file: Path, tmp_path: Path, folder: Path) -> None:
    memory = ldvae(file, tmp_path / "memory", from_disk=False, **QUICK)

    def stop(progress, _):
        if progress.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    new = tmp_path / "not yet" / "there"
    with pytest.raises(Interrupted):
        ldvae(file, new / "disk", from_disk=True, on_step=stop, **QUICK)
    disk = ldvae(file, new / "disk", resume=True)
    moved = ldvae(file, new / "disk", resume=True, from_disk=False)
    assert "from_disk = true" in (new / "disk" / "config.toml").read_text()
    for name in ("model.safetensors", "last.safetensors", "loadings.tsv"):
        for other in (disk, moved):
            assert (memory.folder / name).read_bytes() == (other.folder / name).read_bytes()
    # Nothing is left beside the run.
    assert [path.name for path in new.iterdir()] == ["disk"]
    assert not list(tmp_path.glob("tmp*"))


def test_very_many_counts_go_to_disk_by_themselves(
    file: Path, cells: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_file = read_cells(file, backed=True)
    assert not lie_on_disk(with_file, LDVAESettings(), None)
    monkeypatch.setattr("cellwright.workflows.ldvae_cells._SHARE_OF_MEMORY", 1e-9)
    assert lie_on_disk(with_file, LDVAESettings(), None)
    assert not lie_on_disk(with_file, LDVAESettings(from_disk=False), None)
    assert not lie_on_disk(cells, LDVAESettings(), None)  # they are in memory as it is
    with_file.file.close()


def test_copies_of_a_cell_stay_on_one_side(cells: AnnData, tmp_path: Path) -> None:
    twice = AnnData(cells.X[np.repeat(np.arange(60), 2)], var=cells.var)
    twice.obs_names = [f"t{i}" for i in range(120)]
    twice.obs["base_cell"] = np.repeat([f"c{i}" for i in range(60)], 2)
    result = ldvae(twice, tmp_path / "copies", fit_on="train", **{**QUICK, "split_by": "auto"})
    assert "base_cell" in result.metrics["note"]


def test_the_top_genes_are_those_at_both_ends() -> None:
    loadings = pd.DataFrame({"Z_0": np.arange(100.0)}, index=[f"id{j}" for j in range(100)])
    top = top_genes(loadings, [f"S{j}" for j in range(100)], 10)
    assert top.loc[top["end"] == "+", "gene_symbol"].tolist() == [
        f"S{j}" for j in range(99, 89, -1)
    ]
    assert top.loc[top["end"] == "-", "gene_symbol"].tolist() == [f"S{j}" for j in range(10)]


def test_enrichment_compares_the_loadings_of_a_set_with_the_others() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2))
    values[:30, 1] -= 2.0
    loadings = pd.DataFrame(values, index=[f"id{j}" for j in range(200)], columns=["Z_0", "Z_1"])
    symbols = [f"S{j}" for j in range(200)]
    sets = {
        "low": [f"s{j}" for j in range(30)] + ["elsewhere"],
        "none": symbols[50:90],
        "tiny": ["S1"],
        "foreign": ["X"] * 9,
    }
    found = enrichment(loadings, symbols, sets, top_genes(loadings, symbols, 20))
    assert set(found["set"]) == {"low", "none"}
    assert len(found) == 4
    for row in found.itertuples():
        inside = np.isin([s.lower() for s in symbols], [g.lower() for g in sets[row.set]])
        x = loadings[row.axis].to_numpy()
        expected = stats.ttest_ind(x[inside], x[~inside])  # the slope of a line on 0 and 1
        assert row.t == pytest.approx(expected.statistic, rel=1e-4)
        assert row.p == pytest.approx(expected.pvalue, rel=1e-2)
        assert row.end == ("+" if row.t > 0 else "-")
        assert row.genes_in_set == inside.sum()
    first = found.iloc[0]
    assert (first["axis"], first["end"], first["set"]) == ("Z_1", "-", "low")
    assert first["q"] == pytest.approx(4 * first["p"])
    lowest = [symbols[j] for j in np.argsort(values[:, 1])[:20] if j < 30]
    assert first["found"] == ", ".join(lowest)
    with pytest.raises(DataError, match="1 gene sets"):
        enrichment(loadings, symbols, {"foreign": ["X"] * 9}, top_genes(loadings, symbols, 20))


def test_genes_of_one_symbol_count_once() -> None:
    rng = np.random.default_rng(1)
    loadings = pd.DataFrame({"Z_0": rng.normal(size=40)}, index=[f"id{j}" for j in range(40)])
    symbols = ["Twin", "TWIN", *[f"S{j}" for j in range(38)]]
    sets = {"block": ["twin", *[f"S{j}" for j in range(9)]]}
    found = enrichment(loadings, symbols, sets, top_genes(loadings, symbols, 5)).iloc[0]
    x = loadings["Z_0"].to_numpy()
    one_each = np.r_[x[:2].mean(), x[2:]]
    assert found["genes_in_set"] == 10
    assert found["t"] == pytest.approx(
        stats.ttest_ind(one_each[:10], one_each[10:]).statistic, rel=1e-4
    )


@pytest.mark.parametrize("lonely", range(4))
def test_a_batch_of_one_cell_is_refused_on_whichever_side_it_falls(
    lonely: int, cells: AnnData, tmp_path: Path
) -> None:
    subject = cells.copy()
    subject.obs["chip"] = np.where(np.arange(CELLS) == lonely, "solo", "many")
    with pytest.raises(DataError, match=r"batch 'solo' in obs\['chip'\] has 1 cell, expected"):
        ldvae(subject, tmp_path / "out", batch_key="chip", fit_on="train", **QUICK)
    assert not (tmp_path / "out").exists()


def test_without_the_library_sets_are_refused_before_training(
    file: Path, gmt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "decoupler", None)
    with pytest.raises(MissingExtra, match=r"decoupler.*pip install 'cellwright\[enrichment\]'"):
        ldvae(file, tmp_path / "out", gene_sets=gmt, **QUICK)
    assert not (tmp_path / "out").exists()
    ldvae(file, tmp_path / "out", **QUICK)


def test_sets_without_a_gene_of_the_data_are_refused_before_training(
    file: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.gmt"
    foreign.write_text("MOUSE\tnone\t" + "\t".join(f"Xkr{j}" for j in range(9)) + "\n")
    with pytest.raises(DataError, match="none of the 1 gene sets has 5 to 500 genes among the 120"):
        ldvae(file, tmp_path / "out", gene_sets=foreign, **QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--latent", "500"], "latent is 500, but there are only 120 genes"),
        (["--batch-key", "rum"], "'rum' for --batch-key; did you mean 'run'"),
        (["--state-column", "stat"], "did you mean 'state'"),
        (["--state-column", "cell_type"], "no cell is 'normal' in obs['cell_type']"),
        (["--library", "both"], "both"),
        (["--val", "0"], "val is 0"),
        (["--gene-sets", "nowhere.gmt"], "nowhere.gmt"),
        (["--label", "colour"], "'colour'"),
        (["--kl-warmup", "-1"], "kl_warmup is -1"),
        (["--resume"], "no run folder"),
    ],
)
def test_bad_input_is_one_sentence(file: Path, tmp_path: Path, words: list[str], said: str) -> None:
    given = ["ldvae", str(file), "-o", str(tmp_path / "out"), "--split-by", "none", *words]
    with pytest.raises(CellwrightError) as caught:
        CliRunner().invoke(app, given, catch_exceptions=False)
    assert said in str(caught.value)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_log_data_are_refused(cells: AnnData, tmp_path: Path) -> None:
    logged = cells.copy()
    logged.X = logged.X.log1p()
    with pytest.raises(DataError, match="log"):
        ldvae(logged, tmp_path / "out", **QUICK)


def test_the_command_prints_one_json_object(file: Path, tmp_path: Path) -> None:
    given = ["ldvae", str(file), "-o", str(tmp_path / "out"), "--json", "--latent", "2"]
    done = CliRunner().invoke(app, [*given, "--epochs", "2", "--split-by", "none", "-q"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["schema"] == "cellwright.ldvae/1"
