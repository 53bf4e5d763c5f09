"""Edits judged: a planted gene is found, others give uniform p-values, states, donors and warnings."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import cellwright
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.representations.geneformer import GeneformerRun
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.workflows.perturb import perturb
from cellwright.workflows.perturb_goal import fit_direction

GENES, STRONG, SICK = 80, 30, 12


@pytest.fixture(scope="module")
def cells():
    """160 cells of eight donors; in sick cells gene SICK is gone, all else is alike."""
    rng = np.random.default_rng(0)
    sick_n = np.arange(160) % 2 == 1
    counts = rng.poisson(rng.gamma(2.0, 0.6, GENES), (160, GENES)).astype(np.float32)
    counts[:, SICK] = np.where(sick_n, 0, 1 + rng.poisson(2, 160))
    obs = pd.DataFrame(
        {
            "state": np.where(sick_n, "sick", "well"),
            "donor": [f"D{i // 20}" for i in range(160)],
            "a:b": np.where(sick_n, "x:1", "y"),
        },
        index=[f"cell{i}" for i in range(160)],
    )
    var = pd.DataFrame(index=[f"GENE{g}" for g in range(GENES)])
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=var)


def planted(strong=(), seed=0):
    """Genes whose vectors are alike, those in ``strong`` far from all others."""
    names = np.array([f"GENE{g}" for g in range(GENES)])
    vocabulary = RankVocabulary(
        names, names, np.ones(GENES), 2 + np.arange(GENES), {"<pad>": 0, "<mask>": 1}
    )
    model = random_rank_encoder(RankShape(GENES + 2, 16, 2, 2, 24, 96), seed).eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        model.positions.weight.mul_(0.1)
        common = rng.normal(size=16)
        table = common + 0.3 * rng.normal(size=(GENES + 2, 16))
        # At a right angle to the others: along their mean a cell's vector would not turn.
        away = rng.normal(size=16)
        away -= away @ common / (common @ common) * common
        for gene in strong:
            table[2 + gene] = away
        model.tokens.weight.copy_(torch.from_numpy(table).float())
    return GeneformerRun("planted", None, model, {}, vocabulary, "mean")


@pytest.fixture(scope="module")
def everything(cells):
    return perturb(planted([STRONG]), cells, delete="all", cells_per_gene=20, null=60)


def test_a_planted_gene_stands_first_and_is_found(cells, everything):
    table = everything.table
    assert table["edit"][0] == f"GENE{STRONG}"
    assert table["cosine_p"][0] == pytest.approx(1 / 61)
    assert table["cosine"][0] > 5 * table["cosine"][1:].max()
    assert table["cosine_z"][0] > 4
    assert (table["cosine_z"].diff().dropna() <= 0).all()
    assert (table["cosine_low"] <= table["cosine"]).all()
    assert (table["cosine"] <= table["cosine_high"]).all()
    often = np.asarray((cells.X > 0).sum(axis=0)).ravel() >= 10
    assert len(everything.null) == 0 and len(table) == often.sum()


def test_asked_for_by_name_it_passes_the_false_discovery_rate_and_another_does_not(cells):
    found = perturb(
        planted([STRONG]), cells, delete=[f"GENE{STRONG}", "GENE3"], null=60, cells_per_gene=10
    )
    table = found.table.set_index("edit")
    assert table.loc[f"GENE{STRONG}", "cosine_q"] <= 0.05 < table.loc["GENE3", "cosine_q"]
    assert found.sentences[0].startswith("1 of 2 edits moves cells further than random genes")
    # Its own vector is gone; the genes that stay hardly notice.
    assert len(found.null) > 60 and not {"GENE3", f"GENE{STRONG}"} & set(found.null["edit"])


def test_genes_without_an_effect_of_their_own_have_uniform_p(cells):
    # Every gene a random vector of the same law: exchangeable given its place and detection.
    p = np.concatenate(
        [
            perturb(planted(seed=seed), cells, delete="all", cells_per_gene=5, null=39).table[
                "cosine_p"
            ]
            for seed in range(3)
        ]
    )
    counts, _ = np.histogram(p, bins=5, range=(0, 1))
    # 240 p-values in fifths of 48, with a standard deviation of 6.2 if independent.
    assert (np.abs(counts - 48) < 4 * 6.2).all(), counts
    assert np.mean(p <= 0.05) < 0.11


def test_the_gene_that_makes_the_state_leads_toward_it(cells):
    result = perturb(
        planted([SICK]),
        cells,
        delete=[f"GENE{SICK}", "GENE3", "GENE4,GENE5"],
        states="state",
        goal="well:sick",
        null=30,
        cells_per_gene=30,
    )
    first = result.table.iloc[0]
    assert result.headline == "toward" and first["edit"] == f"GENE{SICK}"
    # Taking the gene out is all that the state is: the whole way, within the noise of the rest.
    assert first["toward"] == pytest.approx(1.0, abs=0.15)
    assert first["toward_p"] == pytest.approx(1 / 31)
    assert first["expected"] > 0
    assert result.table["toward"][1:].abs().max() < 0.2
    assert set(result.table["edit"]) == {f"GENE{SICK}", "GENE3", "GENE4+GENE5"}
    # Eight donors with cells of both states: directions over donors, intervals over donors.
    assert result.direction["unit"] == "donor" and result.direction["auc"] > 0.95
    assert (first["unit"], first["units"]) == ("donor", 8)
    assert len(result.null) >= 30
    assert result.null["expected"].notna().all()
    assert f"over {len(result.null) + 3:,} edits (1:" in " ".join(result.sentences)
    # Without a planted vector the gene is one of some forty that make the mean.
    assert abs(first["untrained"]) < 1.5 and result.table["untrained"].notna().all()
    assert any("AUC" in check.sentence for check in result.checks)


def test_the_direction_of_a_cell_never_saw_its_donor():
    rng = np.random.default_rng(0)
    vectors_nd = rng.normal(size=(80, 5)).astype(np.float32)
    end_n = np.arange(80) % 2 == 1
    groups_n = np.array([f"D{i // 10}" for i in range(80)])
    before = fit_direction(vectors_nd, end_n, groups_n, "donor", 0).direction_nd
    changed = vectors_nd.copy()
    changed[groups_n == "D3"] += rng.normal(size=5)
    changed[(groups_n == "D3") & end_n] *= 7
    after = fit_direction(changed, end_n, groups_n, "donor", 0).direction_nd
    mine = groups_n == "D3"
    np.testing.assert_array_equal(before[mine], after[mine])
    assert not np.array_equal(before[~mine], after[~mine])
    # Scaled so that the way between the two means is 1.
    half = (before == before[mine][0]).all(axis=1)
    way = vectors_nd[~half & end_n].mean(axis=0) - vectors_nd[~half & ~end_n].mean(axis=0)
    assert before[mine][0] @ way == pytest.approx(1.0, abs=1e-5)


def test_donors_of_one_state_each_are_halved_within_their_state():
    vectors_nd = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    groups_n = np.array([f"D{i // 15}" for i in range(60)])
    found = fit_direction(vectors_nd, np.arange(60) >= 30, groups_n, "donor", 0)
    assert found.unit == "donor"
    alone = fit_direction(vectors_nd, np.arange(60) >= 45, np.array(["D"] * 60), "donor", 0)
    assert alone.unit == "cells"


def test_raising_what_is_never_in_front_is_warned_of(cells):
    result = perturb(planted(), cells, raise_=["GENE3", "GENE4"], null=20, cells_per_gene=10)
    front = result.table.set_index("edit")["front"]
    x_ng = cells.X.toarray()
    # Counts over a median of 1: the order is that of the counts, columns first.
    order = np.argsort(-x_ng, axis=1, kind="stable")
    seen = [
        3 in row[: int(np.ceil(0.05 * (x > 0).sum()))] for row, x in zip(order, x_ng, strict=True)
    ]
    assert front["GENE3"] == pytest.approx(np.mean(seen))
    names = {check.name for check in result.checks}
    assert ("off-distribution" in names) == bool((front < 0.01).any())
    assert (result.table["cells"] == 10).all()


def test_scaling_by_one_changes_nothing_and_by_more_moves_up(cells):
    run = planted([STRONG])
    still = perturb(run, cells, scale="GENE3", factor=1.0, null=20, cells_per_gene=10).table
    assert (still[["cosine", "genes", "changed"]] == 0).all(axis=None)
    up = perturb(run, cells, scale="GENE3", factor=5.0, null=20, cells_per_gene=10).table
    assert up["changed"][0] > 0.5 and up["genes"][0] > 0


def test_the_folder_holds_what_was_returned(cells, tmp_path):
    planted([STRONG]).save(tmp_path / "small")
    out = tmp_path / "edits"
    cells.write_h5ad(tmp_path / "cells.h5ad")
    result = cellwright.perturb(
        tmp_path / "small",
        tmp_path / "cells.h5ad",
        delete=[f"GENE{STRONG}", "GENE4"],
        null=20,
        cells_per_gene=8,
        max_cells=60,
        out=out,
    )
    found = json.loads((out / "metrics.json").read_text())
    assert found["schema"] == "cellwright.perturb/1" and found["settings"]["cells_drawn"] == 60
    assert found["scores"][0]["stratum"] == f"GENE{STRONG}" and found["checks"]
    table = pd.read_csv(out / "perturb.csv")
    np.testing.assert_allclose(table["cosine"], result.table["cosine"], rtol=1e-12)
    assert set(pd.read_csv(out / "genes.csv")["edit"]) == {f"GENE{STRONG}", "GENE4"}
    assert (out / "figures" / "ranked.png").stat().st_size > 5000
    assert (out / "figures" / "place.pdf").is_file()
    # The same seed, from memory: the same numbers.
    again = perturb(
        cellwright.load(tmp_path / "small"),
        cells,
        delete=[f"GENE{STRONG}", "GENE4"],
        null=20,
        cells_per_gene=8,
        max_cells=60,
    )
    pd.testing.assert_frame_equal(again.table, result.table)
    with pytest.raises(RunError, match="edits exists already"):
        perturb(tmp_path / "small", cells, delete="GENE4", out=out)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({}, SettingsError, "no edit was given"),
        ({"delete": "GENE1", "raise_": "GENE2"}, SettingsError, "--delete GENE1 and --raise GENE2"),
        ({"delete": "GENE999"}, DataError, "'GENE999'.*did you mean 'GENE"),
        ({"delete": "GENE1,,GENE2"}, SettingsError, "'GENE1,,GENE2'"),
        ({"delete": "GENE1,GENE1"}, SettingsError, "'GENE1,GENE1' holds a gene twice"),
        ({"delete": ["GENE1", "GENE1"]}, SettingsError, "'GENE1' was asked for twice"),
        ({"delete": ["all", "GENE1"]}, SettingsError, "'all' was given together with GENE1"),
        ({"scale": "GENE1"}, SettingsError, "none was given; say --factor"),
        ({"scale": "GENE1", "factor": 0.0}, SettingsError, "factor is 0"),
        ({"scale": "GENE1", "factor": -2.0}, SettingsError, "factor is -2"),
        ({"delete": "GENE1", "factor": 2.0}, SettingsError, "factor of 2"),
        ({"delete": "GENE1", "goal": "well:sick"}, SettingsError, "'well:sick' needs the column"),
        ({"delete": "GENE1", "states": "state"}, SettingsError, "'state', but no goal"),
        (
            {"delete": "GENE1", "states": "stat", "goal": "well:sick"},
            DataError,
            "'stat'.*did you mean 'state'",
        ),
        (
            {"delete": "GENE1", "states": "state", "goal": "well:sic"},
            DataError,
            "'sic'.*did you mean 'sick'",
        ),
        ({"delete": "GENE1", "states": "state", "goal": "well"}, SettingsError, "'well', expected"),
        ({"delete": "GENE1", "states": "state", "goal": "well:well"}, SettingsError, "to itself"),
        ({"delete": "GENE1", "group": "donr"}, DataError, "'donr'.*did you mean 'donor'"),
        ({"delete": "GENE1", "cells_per_gene": 0}, SettingsError, "cells_per_gene is 0"),
        ({"delete": "all", "min_cells": 1000}, DataError, "0 genes are ranked in 1000"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_value(cells, how, error, words):
    with pytest.raises(error, match=words):
        perturb(planted(), cells, **how)


def test_a_gene_that_no_cell_ranks_cannot_leave_but_can_be_raised(cells):
    without = cells[:, [g for g in range(GENES) if g != 40]].copy()
    with pytest.raises(DataError, match=r"'GENE40' is ranked in none of the 160.*did you mean"):
        perturb(planted(), without, delete="GENE40")
    result = perturb(planted(), without, raise_="GENE40", null=20, cells_per_gene=5)
    assert (result.table["detection"] == 0).all() and result.table["cosine"][0] > 0
    assert "off-distribution" in {check.name for check in result.checks}


def test_a_state_may_hold_a_colon(cells):
    result = perturb(
        planted([SICK]),
        cells,
        delete=f"GENE{SICK}",
        states="a:b",
        goal="y:x:1",
        null=20,
        cells_per_gene=6,
    )
    assert result.goal == "y:x:1" and result.table["toward"][0] > 0.5


def test_a_run_of_bins_is_refused_by_name(tmp_path):
    cells = cellwright.simulate(60, 30, seed=0)
    cellwright.pretrain(cells, tmp_path / "bins", epochs=1, size="tiny", split_by="none")
    with pytest.raises(SettingsError, match="bins is a run on bins"):
        perturb(tmp_path / "bins", cells, delete="GENE1")
