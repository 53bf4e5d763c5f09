"""A linear VAE's run as a representation, and a model of scvi-tools turned into one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import GeneVectors, Representation
from cellwright.representations.ldvae import LDVAERun, load_ldvae
from cellwright.representations.loading import load, load_encoder
from cellwright.representations.scvi_model import from_scvi

GENES = 60


def some_cells(n: int = 90, seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    counts = sp.csr_matrix(rng.negative_binomial(0.5, 0.2, (n, GENES)).astype(np.float32))
    cells = AnnData(counts)
    cells.obs_names = [f"cell{seed}-{i}" for i in range(n)]
    cells.var_names = [f"GENE{j}" for j in range(GENES)]
    cells.obs["b"] = np.where(np.arange(n) % 2, "one", "two")
    return cells


@pytest.fixture(scope="module")
def theirs() -> object:
    """A LinearSCVI trained for an epoch."""
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scvi.model import LinearSCVI

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        cells = some_cells()
        LinearSCVI.setup_anndata(cells, batch_key="b")
        model = LinearSCVI(cells, n_latent=5, n_hidden=8)
        model.train(1, accelerator="cpu", enable_progress_bar=False, logger=None)
    return model


@pytest.fixture(scope="module")
def run(theirs: object) -> LDVAERun:
    return from_scvi(theirs)


def test_the_latent_and_the_loadings_are_those_of_scvi_tools(theirs, run: LDVAERun) -> None:
    assert isinstance(run, Representation)
    assert isinstance(run, GeneVectors)
    vectors_nd = run.transform(theirs.adata)
    expected = theirs.get_latent_representation()
    np.testing.assert_allclose(vectors_nd, expected, rtol=1e-4, atol=1e-5)
    loadings = run.loadings()
    np.testing.assert_allclose(loadings.to_numpy(), theirs.get_loadings().to_numpy(), rtol=1e-5)
    assert list(loadings.columns) == [f"Z_{d}" for d in range(5)]
    ids, vectors_gd = run.gene_vectors()
    assert ids == list(theirs.adata.var_names)
    np.testing.assert_array_equal(vectors_gd, loadings.to_numpy())
    assert set(run.seen(theirs.adata)) == {"unknown"}


def test_the_order_of_cells_and_genes_does_not_matter(run: LDVAERun) -> None:
    cells = some_cells(seed=3)
    there = run.transform(cells)
    turned = run.transform(cells[::-1, ::-1].copy())
    np.testing.assert_allclose(turned[::-1], there, atol=1e-5)


def test_save_and_load_give_the_same_vectors(run: LDVAERun, tmp_path: Path) -> None:
    run.save(tmp_path / "kept")
    again = load(tmp_path / "kept")
    assert isinstance(again, LDVAERun)
    assert again.name == "kept"
    cells = some_cells(seed=4)
    np.testing.assert_array_equal(again.transform(cells), run.transform(cells))
    assert set(again.seen(cells)) == {"unknown"}
    with pytest.raises(RunError, match="kept is a linear VAE"):
        load_encoder(tmp_path / "kept")


def test_a_saved_model_of_scvi_tools_is_read_from_its_folder(
    theirs, run: LDVAERun, tmp_path: Path
) -> None:
    theirs.save(str(tmp_path / "scvi"), save_anndata=False)
    again = from_scvi(tmp_path / "scvi", theirs.adata)
    cells = some_cells(seed=4)
    np.testing.assert_array_equal(again.transform(cells), run.transform(cells))
    with pytest.raises(DataError, match="nowhere"):
        from_scvi(tmp_path / "nowhere")


def test_missing_genes_count_as_zero_or_are_refused(run: LDVAERun) -> None:
    cells = some_cells(seed=5)
    without = cells.copy()
    dense = without.X.toarray()
    dense[:, :3] = 0
    without.X = sp.csr_matrix(dense)
    found = run.transform(cells[:, 3:].copy())
    np.testing.assert_allclose(found, run.transform(without), atol=1e-6)
    with pytest.raises(DataError, match="GENE0"):
        run.transform(cells[:, 40:].copy())
    low = run.with_(min_coverage=0.1, name="low")
    assert low.transform(cells[:, 40:].copy()).shape == (90, 5)


def test_a_pooling_and_a_foreign_folder_are_refused(run: LDVAERun, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'cls'"):
        run.with_(pooling="cls")
    with pytest.raises(RunError, match="no run folder"):
        load_ldvae(tmp_path / "none")
