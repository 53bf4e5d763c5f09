"""Simulated neurons: the law of the counts, what can be learnt from them, and blocks."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import nbinom
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from cellwright.data.neuron_markers import ENSEMBL_IDS
from cellwright.data.simulate import expected_counts, simulate, simulate_to_file
from cellwright.data.simulated_tables import metadata_tables, write_tables
from cellwright.data.simulated_tissue import TissueSettings, plant
from cellwright.errors import CellwrightError, DataError, RunError, SettingsError


@pytest.fixture(scope="module")
def neurons():
    return simulate()


@pytest.fixture(scope="module")
def counts_ng(neurons):
    return neurons.X.toarray().astype(float)


@pytest.fixture(scope="module")
def law(neurons):
    """True mean and dispersion of every count."""
    return expected_counts(neurons).astype(float), neurons.var["truth_theta"].to_numpy(float)


def test_means_follow_the_stated_formula(neurons, law):
    mean_ng, _ = law
    tissue = plant(TissueSettings())
    for n in (0, 7, 1999):
        cell = neurons.obs.iloc[n]
        t = list(tissue.types["subtype"]).index(cell["subtype"])
        library = list(tissue.libraries["library_label"]).index(cell["library_label"])
        eta_g = tissue.type_effect_tg[t].astype(float) + tissue.library_effect_lg[library]
        for p, amount in enumerate(neurons.obsm["truth_programs"][n]):
            eta_g = eta_g + float(amount) * tissue.loadings_pg[p]
        expected_g = cell["truth_depth"] * np.exp(eta_g) / np.exp(eta_g).sum()
        np.testing.assert_allclose(mean_ng[n], expected_g, rtol=1e-4)


def test_counts_are_negative_binomial_in_every_range_of_the_mean(counts_ng, law):
    mean_ng, theta_g = law
    variance_ng = mean_ng + mean_ng**2 / theta_g
    edges = np.quantile(mean_ng, np.linspace(0, 1, 11))
    tenth_ng = np.digitize(mean_ng, edges[1:-1])
    zero_ng = nbinom.pmf(0, theta_g, theta_g / (theta_g + mean_ng))
    for tenth in range(10):
        here = tenth_ng == tenth
        error = 5 / np.sqrt(here.sum())
        surprise = (counts_ng - mean_ng)[here].sum() / np.sqrt(variance_ng[here].sum())
        assert abs(surprise) < 5, f"mean in tenth {tenth} is {surprise:.1f} standard errors off"
        ratio = (counts_ng - mean_ng)[here] ** 2 / variance_ng[here]
        assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(here.sum())
        zeros = (counts_ng[here] == 0).mean()
        assert abs(zeros - zero_ng[here].mean()) < error * np.sqrt(zeros * (1 - zeros)) + 1e-4


def test_cumulative_distribution_matches_scipy(counts_ng, law):
    mean_ng, theta_g = law
    probability_g = theta_g / (theta_g + mean_ng)
    for most in (1, 2, 5, 10):
        expected = nbinom.cdf(most, theta_g, probability_g[:400]).mean()
        assert abs((counts_ng[:400] <= most).mean() - expected) < 0.004


@pytest.mark.parametrize("n_genes", [100, 1000, 3000])
def test_density_and_depth_are_realistic(n_genes):
    cells = simulate(600, n_genes, seed=3)
    assert 0.2 < cells.X.nnz / np.prod(cells.shape) < 0.45
    depth_n = np.asarray(cells.X.sum(axis=1)).ravel()
    assert np.median(depth_n) == pytest.approx(n_genes, rel=0.25)
    assert 0.35 < np.log(depth_n[depth_n > 0]).std() < 0.8


def test_depth_on_request():
    cells = simulate(600, 300, depth=5000.0)
    assert np.median(np.asarray(cells.X.sum(axis=1))) == pytest.approx(5000, rel=0.25)


def test_types_can_be_learnt_and_depth_alone_tells_little(neurons, counts_ng):
    depth_n = counts_ng.sum(axis=1)
    excitatory = neurons.obs["cell_class"] == "excitatory"
    assert 0.6 < roc_auc_score(excitatory, depth_n) < 0.9
    logs_ng = np.log1p(1000 * counts_ng / depth_n[:, None])
    held_out = neurons.obs["donor"].isin(["donor_01", "donor_02"]).to_numpy()
    for label, least in (("subclass", 0.95), ("cell_class", 0.98)):
        truth = neurons.obs[label].to_numpy(str)
        with threadpool_limits(1):  # far faster than threads that wait for each other
            model = LogisticRegression(C=0.1, max_iter=200, tol=1e-3)
            fitted = model.fit(logs_ng[~held_out], truth[~held_out])
        assert fitted.score(logs_ng[held_out], truth[held_out]) > least


def test_programs_can_be_read_off_other_genes(neurons, counts_ng):
    """Half of the genes tell the programs, so masked genes are predictable from visible ones."""
    rng = np.random.default_rng(0)
    visible = rng.random(counts_ng.shape[1]) < 0.5
    logs_ng = np.log1p(1000 * counts_ng / counts_ng.sum(axis=1, keepdims=True))[:, visible]
    held_out = np.arange(len(logs_ng)) >= 1500
    truth_np = neurons.obsm["truth_programs"]
    told_np = Ridge(alpha=100.0).fit(logs_ng[~held_out], truth_np[~held_out])
    assert r2_score(truth_np[held_out], told_np.predict(logs_ng[held_out])) > 0.6


def test_continuous_programs_carry_information_beyond_type_and_depth(neurons, counts_ng, law):
    mean_ng, theta_g = law

    def bits(mean):
        return -nbinom.logpmf(counts_ng, theta_g, theta_g / (theta_g + mean)).mean() / np.log(2)

    codes_n = neurons.obs["subclass"].cat.codes.to_numpy()
    share_kg = np.stack([counts_ng[codes_n == k].sum(axis=0) for k in range(codes_n.max() + 1)])
    share_kg = (share_kg + 0.1) / (share_kg + 0.1).sum(axis=1, keepdims=True)
    typed_ng = counts_ng.sum(axis=1, keepdims=True) * share_kg[codes_n]
    assert bits(mean_ng) < bits(typed_ng) - 0.15


def test_markers_are_up_where_they_should_be(neurons, counts_ng):
    share_ng = counts_ng / counts_ng.sum(axis=1, keepdims=True)
    checked = 0
    for g, marked in enumerate(neurons.var["marker_of"]):
        for name in filter(None, marked.split(";")):
            column = "cell_class" if name in ("excitatory", "inhibitory") else "subclass"
            inside = (neurons.obs[column] == name).to_numpy()
            known = {neurons.obs[c][inside].iloc[0] for c in ("cell_class", "subclass")} | {name}
            assert name in known
            others = ~inside & ~np.isin(neurons.obs["subclass"].astype(str), marked.split(";"))
            others &= ~np.isin(neurons.obs["cell_class"].astype(str), marked.split(";"))
            assert share_ng[inside, g].mean() > 4 * share_ng[others, g].mean()
            checked += 1
    assert checked > 50


def test_design_is_nested_and_regions_are_not_donors(neurons):
    obs = neurons.obs
    per_library = obs.groupby("library_label", observed=True)
    for column in ("donor", "anatomical_division_label"):
        assert per_library[column].nunique().max() == 1
    assert obs["donor"].nunique() == 6
    assert obs["library_label"].nunique() == 12
    assert obs["anatomical_division_label"].value_counts().idxmax() == "Cerebral cortex"
    assert obs.groupby("donor", observed=True)["anatomical_division_label"].nunique().max() > 1
    assert neurons.obs_names.is_unique
    assert neurons.obs_names[0].endswith(obs["cell_barcode"].iloc[0])
    assert (obs["subtype"] == "cluster_" + obs["cluster_alias"].astype(str)).all()


def test_no_batch_effect_means_no_batch_effect():
    tissue = plant(TissueSettings(batch_effect=0.0))
    assert not tissue.library_effect_lg.any()
    assert not tissue.libraries["log_depth"].any()


def test_clusters_and_chosen_subclasses():
    cells = simulate(300, 200, subclasses=["L5 IT", "Sst"], clusters=2)
    assert set(cells.obs["subclass"]) == {"L5 IT", "Sst"}
    assert set(cells.obs["cluster_alias"]) == {2523, 2524, 210, 211}


def test_same_seed_same_cells_other_seed_others():
    one, two, other = (
        simulate(200, 60, seed=5),
        simulate(200, 60, seed=5),
        simulate(200, 60, seed=6),
    )
    assert (one.X != two.X).nnz == 0
    pd.testing.assert_frame_equal(one.obs, two.obs)
    assert (one.X != other.X).nnz > 0


def test_a_file_holds_the_same_cells(tmp_path):
    path = tmp_path / "cells.h5ad"
    obs = simulate_to_file(path, 2500, TissueSettings(n_genes=50, seed=1))
    read, held = anndata.read_h5ad(path), simulate(2500, 50, seed=1)
    assert isinstance(read.X, sparse.csr_matrix)
    assert (read.X != held.X).nnz == 0
    assert read.X.dtype == np.float32
    pd.testing.assert_frame_equal(read.obs, held.obs)
    pd.testing.assert_frame_equal(read.var, held.var)
    np.testing.assert_array_equal(read.obsm["truth_map"], obs[["x", "y"]].to_numpy())
    np.testing.assert_array_equal(read.varm["truth_loadings"], held.varm["truth_loadings"])
    np.testing.assert_array_equal(expected_counts(read), expected_counts(held))


def test_memory_does_not_grow_with_the_counts(tmp_path):
    def peak(n_cells):
        tracemalloc.start()
        settings = TissueSettings(n_genes=300)
        simulate_to_file(tmp_path / f"{n_cells}.h5ad", n_cells, settings)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small, large = peak(1024), peak(12 * 1024)
    counts = 11 * 1024 * 300 * 0.38 * 8  # what the added counts would take, data and indices
    assert large - small < 0.6 * counts
    assert large - small < 900 * 11 * 1024  # bytes per cell of obs and truth


def test_genes_are_real_markers_and_ids_that_do_not_collide(neurons, real_data):
    source = real_data / "gene_coords" / "grch38_genes_ensembl_annotables.tsv.gz"
    with gzip.open(source, "rt") as handle:
        table = pd.read_csv(handle, sep="\t")
    symbol_of = table.set_index("ensgene")["symbol"].to_dict()
    for symbol, gene_id in ENSEMBL_IDS.items():
        assert symbol_of[gene_id] == symbol
    made_up = neurons.var_names[neurons.var["simulated_id"]]
    assert len(made_up) > 800
    assert not set(made_up) & set(symbol_of)
    assert neurons.var_names.str.fullmatch(r"ENSG\d{11}").all()
    assert neurons.var_names.is_unique


def test_tiny_data_works():
    cells = simulate(50, 30)
    assert cells.shape == (50, 30)
    assert cells.obs["library_label"].nunique() == 12
    assert cells.obs["subclass"].nunique() == 13
    assert {"SLC17A7", "GAD1", "SST", "VIP"} <= set(cells.var["gene_symbol"])
    assert np.asarray(cells.X.sum(axis=1)).min() > 0


def test_one_cell_works():
    assert simulate(1, 30, n_donors=1, n_libraries=1).shape == (1, 30)


def test_expected_counts_of_a_view(neurons, law):
    view = neurons[10:15, 3:7]
    np.testing.assert_allclose(expected_counts(view), law[0][10:15, 3:7], rtol=1e-5)


def test_expected_counts_needs_simulated_cells(neurons):
    with pytest.raises(DataError, match=r"uns\['truth'\]"):
        expected_counts(anndata.AnnData(np.ones((2, 2), dtype=np.float32)))
    strange = neurons[:2, :2].copy()
    strange.var_names = ["ENSG00000000001", strange.var_names[1]]
    with pytest.raises(DataError, match="ENSG00000000001"):
        expected_counts(strange)


def test_tables_join_as_those_of_the_atlas_do(tmp_path):
    obs = simulate_to_file(tmp_path / "c.h5ad", 300, TissueSettings(n_genes=40))
    paths = write_tables(obs, tmp_path / "tables")
    metadata, cluster, term = (pd.read_csv(path) for path in paths)
    joined = metadata.merge(cluster, on="cluster_alias").merge(term, on="label")
    assert len(joined) == 300
    sst = joined[joined["label"] == "CS202210140_210"]
    assert set(sst["description"]) == {"MGE interneuron (subcluster 1)"}
    assert list(metadata["cell_label"]) == list(obs.index)
    assert int(cluster["number_of_cells"].sum()) == 300
    np.testing.assert_allclose(metadata[["x", "y"]], obs[["x", "y"]], rtol=1e-3)
    with pytest.raises(RunError, match="cell_metadata"):
        write_tables(obs, tmp_path / "tables")
    with pytest.raises(DataError, match="'x'"):
        metadata_tables(obs.drop(columns="x"))


def test_the_map_keeps_types_together(neurons):
    near = KNeighborsClassifier(15).fit(neurons.obsm["truth_map"], neurons.obs["subclass"])
    assert near.score(neurons.obsm["truth_map"], neurons.obs["subclass"]) > 0.8


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"n_cells": 0}, "n_cells is 0"),
        ({"n_cells": 5, "n_libraries": 6}, "n_donors is 6 but there are only 5 cells"),
        ({"n_cells": 8}, "n_libraries is 12 but there are only 8 cells"),
        ({"n_genes": 12}, "n_genes is 12, expected at least 17"),
        ({"n_donors": 0}, "n_donors is 0"),
        ({"n_libraries": 5}, "n_libraries is 5, expected at least 6"),
        ({"n_regions": 5}, "n_regions is 5, expected at most 4"),
        ({"n_programs": 9}, "n_programs is 9"),
        ({"clusters": 0}, "clusters is 0"),
        ({"depth": 0.0}, "depth is 0"),
        ({"batch_effect": -1.0}, "batch_effect is -1"),
        ({"seed": -3}, "seed is -3"),
        ({"subclasses": ["L5 TI"]}, "'L5 TI' to simulate: did you mean 'L5 IT'"),
        ({"subclasses": []}, "no subclass"),
    ],
)
def test_impossible_settings_are_named(settings, told):
    with pytest.raises(SettingsError, match=told):
        simulate(**settings)


def test_nothing_half_written_stays(tmp_path):
    class KilledError(Exception):
        pass

    def kill(_):
        raise KilledError

    with pytest.raises(KilledError):
        simulate_to_file(tmp_path / "c.h5ad", 100, TissueSettings(n_genes=30), progress=kill)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_and_a_missing_folder_are_refused(tmp_path):
    settings = TissueSettings(n_genes=30)
    simulate_to_file(tmp_path / "c.h5ad", 50, settings)
    with pytest.raises(RunError, match=r"c\.h5ad exists already"):
        simulate_to_file(tmp_path / "c.h5ad", 50, settings)
    simulate_to_file(tmp_path / "c.h5ad", 60, settings, force=True)
    assert anndata.read_h5ad(tmp_path / "c.h5ad").n_obs == 60
    with pytest.raises(CellwrightError, match="nowhere"):
        simulate_to_file(tmp_path / "nowhere" / "c.h5ad", 50, settings)


def test_settings_are_in_the_file(neurons):
    facts = json.loads(neurons.uns["truth"])
    assert facts["schema"] == "cellwright.simulate/1"
    assert facts["settings"]["n_libraries"] == 12


def test_a_bare_file_leaves_the_labels_to_the_tables(tmp_path):
    obs = simulate_to_file(tmp_path / "bare.h5ad", 300, bare=True)
    full = simulate_to_file(tmp_path / "full.h5ad", 300)
    bare, whole = (anndata.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("bare", "full"))
    assert list(bare.obs) == ["cell_barcode", "library_label", "anatomical_division_label"]
    assert list(bare.var) == ["gene_symbol"]
    assert not bare.uns and not bare.obsm and not bare.varm
    assert (bare.X != whole.X).nnz == 0
    pd.testing.assert_frame_equal(obs, full)
