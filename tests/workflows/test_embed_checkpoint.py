"""A Hugging Face folder wherever a run folder can stand: embed, probe, and beside the simple methods."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pytest

import cellwright
from cellwright.errors import RunError, SettingsError
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.representations.geneformer import GeneformerRun
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.workflows.embed import embed
from cellwright.workflows.pretrain import pretrain
from cellwright.workflows.probe import probe
from cellwright.workflows.views import build_views


def checkpoint(folder, gene_ids, symbols=None):
    """A small checkpoint of the 95M kind, random weights."""
    genes = np.asarray(gene_ids, dtype=np.str_)
    special = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<eos>": 3}
    vocabulary = RankVocabulary(
        genes,
        genes if symbols is None else symbols,
        np.full(genes.size, 1.5),
        4 + np.arange(genes.size),
        special,
    )
    shape = RankShape(vocabulary.n_tokens, 16, 2, 2, 24, 64)
    model = random_rank_encoder(shape, 0).eval()
    GeneformerRun("small", folder, model, {}, vocabulary, "cls").save(folder)
    return folder


@pytest.fixture
def folder(planted, tmp_path):
    # The last ten genes of the data are not in the vocabulary, and one of it is not in the data.
    return checkpoint(tmp_path / "small", [*planted.var_names[:70], "elsewhere"])


def test_a_file_gains_vectors_of_cells_and_genes(folder, planted, tmp_path):
    planted.write_h5ad(tmp_path / "cells.h5ad")
    result = embed(folder, tmp_path / "cells.h5ad", tmp_path / "out.h5ad")
    after = ad.read_h5ad(tmp_path / "out.h5ad")
    run = cellwright.load(folder)
    np.testing.assert_allclose(after.obsm["X_small"], run.transform(planted), atol=1e-6)
    _, vectors = run.gene_vectors()
    np.testing.assert_array_equal(after.varm["small"][:70], vectors[:70])
    assert np.isnan(after.varm["small"][70:]).all()
    share = planted.X[:, :70].sum() / planted.X.sum()
    assert result.coverage == pytest.approx(share) and result.of == "counts"
    assert result.seen == {"unknown": 200} and result.missing == []
    assert f"counts in its vocabulary: {share:.1%}" in result.text()
    assert "cls pooling of layer -2" in result.text()
    facts = json.loads(after.uns["cellwright"]["0001-embed"])
    assert (facts["layer_of"], facts["pooling"], facts["coverage_of"]) == (-2, "cls", "counts")


def test_layer_pooling_and_vocabulary_can_be_chosen(folder, planted, tmp_path):
    (folder / "vocabulary.tsv").rename(tmp_path / "series.tsv")
    with pytest.raises(RunError, match=r"small has none.*--vocabulary"):
        embed(folder, planted)
    result = embed(folder, planted, layer_of=-1, pooling="mean", vocabulary=tmp_path / "series.tsv")
    run = cellwright.load(folder, vocabulary=tmp_path / "series.tsv")
    wanted = run.with_(layer_of=2, pooling="mean").transform(planted)
    np.testing.assert_allclose(result.vectors_nd, wanted, atol=1e-6)
    assert not np.allclose(result.vectors_nd, run.transform(planted), atol=1e-3)


def test_a_run_of_bins_has_no_layers_to_choose(planted, tmp_path):
    pretrain(planted, tmp_path / "bins", epochs=1, size="tiny", split_by="none")
    with pytest.raises(SettingsError, match=r"layer -1.*bins is no checkpoint"):
        embed(tmp_path / "bins", planted, layer_of=-1)


def test_it_is_judged_beside_its_random_start_and_marked_unknown(folder, planted):
    views = build_views(planted, [str(folder)])
    assert views.asked == ("small",)
    assert [v.name for v in views][:2] == ["small", "untrained"]
    assert set(views["small"].seen_n) == {"unknown"} and not views["small"].baseline
    assert views["untrained"].baseline
    # Neither clean nor seen: it must not decide which cells are for testing.
    assert views.unseen_n is None
    vectors = views["small"].vectors(np.arange(10))
    np.testing.assert_allclose(vectors, cellwright.load(folder).transform(planted), atol=1e-6)


def test_probed_it_is_scored_with_the_mark(folder, planted):
    result = probe(planted, str(folder), label="kind", shuffles=0)
    scores = [s for s in result.scores if s.rep == "small"]
    assert scores and {s.seen for s in scores} == {"unknown"}


def test_a_folder_without_its_config_says_so(folder, planted):
    (folder / "config.json").rename(folder / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"small has no config\.json"):
        embed(folder, planted)
