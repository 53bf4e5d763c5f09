"""Embedding a file or an AnnData: what is added, what is left alone, what is refused."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from cellwright.data.simulate import simulate
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.representations.encoder import load
from cellwright.workflows.embed import embed
from cellwright.workflows.pretrain import pretrain


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Simulated cells on disk and a run of two epochs on them."""
    folder = tmp_path_factory.mktemp("embed")
    cells = simulate(120, 60, seed=3)
    cells.layers["double"] = cells.X * 2
    cells.write_h5ad(folder / "cells.h5ad")
    pretrain(cells, folder / "tiny", epochs=2, size="tiny", test=0.3, val=0.2, split_by="none")
    return folder


def test_a_file_gains_vectors_and_loses_nothing(trained, tmp_path):
    out = tmp_path / "out.h5ad"
    result = embed(trained / "tiny", trained / "cells.h5ad", out)
    before, after = ad.read_h5ad(trained / "cells.h5ad"), ad.read_h5ad(out)
    assert after.obsm["X_tiny"].shape == (120, 64)
    np.testing.assert_array_equal(after.obsm["X_tiny"], result.vectors_nd)
    np.testing.assert_array_equal(after.obsm["X_tiny"], load(trained / "tiny").transform(before))
    assert (after.X != before.X).nnz == 0
    assert (after.layers["double"] != before.layers["double"]).nnz == 0
    assert after.obs.equals(before.obs) and after.var.equals(before.var)
    ids, vectors = load(trained / "tiny").gene_vectors()
    np.testing.assert_array_equal(after.varm["tiny"][after.var_names.get_indexer(ids)], vectors)
    assert "0001-embed" in after.uns["cellwright"]
    assert result.seen == {"clean": 36, "seen-unlabelled": 84}
    assert result.coverage == 1.0


def test_an_anndata_is_left_as_it_is(trained):
    cells = ad.read_h5ad(trained / "cells.h5ad")
    result = embed(trained / "tiny", cells, name="mine", pooling="concat")
    assert "X_mine" not in cells.obsm and "cellwright" not in cells.uns
    assert result.cells is not None
    assert result.cells.obsm["X_mine"].shape == (120, 8 * 64)


def test_genes_unknown_to_the_run_have_no_vector(trained):
    cells = ad.read_h5ad(trained / "cells.h5ad")
    cells.var_names = [*cells.var_names[:-1], "ENSG00000999999"]
    cells.var["gene_symbol"] = [*cells.var["gene_symbol"][:-1], "NOVEL1"]
    result = embed(trained / "tiny", cells)
    assert result.coverage == pytest.approx(59 / 60)
    assert len(result.missing) == 1
    assert np.isnan(result.cells.varm["tiny"][-1]).all()
    assert np.isfinite(result.cells.varm["tiny"][:-1]).all()


def test_too_few_genes_are_refused_unless_told_otherwise(trained):
    cells = ad.read_h5ad(trained / "cells.h5ad")[:, :40]
    with pytest.raises(DataError, match=r"40 of the 60 genes of tiny \(66\.7%\).*80%"):
        embed(trained / "tiny", cells)
    assert embed(trained / "tiny", cells, min_coverage=0.5).coverage == pytest.approx(40 / 60)


def test_an_existing_file_and_an_unknown_pooling_are_refused(trained, tmp_path):
    out = tmp_path / "there.h5ad"
    out.write_text("mine")
    with pytest.raises(RunError, match=r"there\.h5ad exists already"):
        embed(trained / "tiny", trained / "cells.h5ad", out)
    assert out.read_text() == "mine"
    with pytest.raises(SettingsError, match="'median'"):
        embed(trained / "tiny", trained / "cells.h5ad", tmp_path / "new.h5ad", pooling="median")
    assert not (tmp_path / "new.h5ad").exists()
