"""A checkpoint as a representation, beside transformers on padded batches of the same tokens."""

from __future__ import annotations

import json
import logging

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from transformers import BertConfig, BertForMaskedLM

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import GeneVectors, Representation
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.geneformer_loading import load_geneformer
from cellwright.representations.geneformer_pooling import batches_by_length
from cellwright.representations.loading import load
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer

TOLERANCE = 1e-5
GENES = 80
SERIES = ["30M", "95M"]


def vocabulary_of(series: str, genes: int = GENES) -> RankVocabulary:
    names = ["<pad>", "<mask>", "<cls>", "<eos>"][: 2 if series == "30M" else 4]
    rng = np.random.default_rng(5)
    ids = np.array([f"gene{i}" for i in range(genes)])
    return RankVocabulary(
        gene_ids=ids,
        symbols=ids,
        medians_g=rng.lognormal(1, 0.5, genes),
        token_ids_g=len(names) + np.arange(genes),
        special={name: i for i, name in enumerate(names)},
    )


def write_folder(folder, vocabulary: RankVocabulary, positions: int = 50) -> BertForMaskedLM:
    """A small checkpoint as transformers writes it, with random norms and biases too."""
    config = BertConfig(
        vocab_size=vocabulary.n_tokens,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=positions,
        hidden_act="relu",
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    vocabulary.save(folder / "vocabulary.tsv")
    return model


@pytest.fixture(params=SERIES)
def series(request):
    return request.param


@pytest.fixture
def folder(series, tmp_path):
    write_folder(tmp_path / "small", vocabulary_of(series))
    return tmp_path / "small"


@pytest.fixture
def run(folder):
    return load_geneformer(folder)


@pytest.fixture
def cells(cells):
    """30 cells of 120 genes, 80 of them known; most cells have more genes than 50 positions."""
    made = cells[:30, :120].copy()
    thin = made.X.toarray()
    thin[:10, 12:] = 0
    thin[:10, 3] += 1
    made.X = sp.csr_matrix(thin)
    return made


def by_transformers(folder, vocabulary, cells, layer, pooling):
    """Tokens padded, one batch, the published way."""
    theirs = BertForMaskedLM.from_pretrained(folder).eval()
    tokenizer = RankedTokenizer(vocabulary, max_tokens=50).for_genes(cells.var)
    batch = tokenizer.encode(cells.X)
    ids_nt, mask_nt = torch.from_numpy(batch.gene_ids_nt), torch.from_numpy(~batch.pad_nt)
    with torch.no_grad():
        states = theirs.bert(ids_nt, attention_mask=mask_nt.long(), output_hidden_states=True)
    hidden_ntd = states.hidden_states[layer].numpy()
    if pooling == "cls":
        return hidden_ntd[:, 0], batch.gene_ids_nt, hidden_ntd
    gene_nt = batch.gene_ids_nt >= len(vocabulary.special)
    mean = (hidden_ntd * gene_nt[:, :, None]).sum(1) / gene_nt.sum(1, keepdims=True)
    return mean, batch.gene_ids_nt, hidden_ntd


def test_it_is_a_representation_with_gene_vectors(run, cells, series):
    assert isinstance(run, Representation) and isinstance(run, GeneVectors)
    assert run.name == "small" and run.fit(cells) is run and not run.model.training
    assert (run.pooling, run.layer_of) == ("mean" if series == "30M" else "cls", -2)
    assert set(run.seen(cells)) == {"unknown"} and len(run.seen(cells)) == 30


@pytest.mark.parametrize("layer", [0, -2, -1])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_transformers(run, folder, cells, series, layer, pooling):
    if series == "30M" and pooling == "cls":
        with pytest.raises(SettingsError, match=r"'cls'.*no <cls>.*<mask>"):
            run.with_(pooling=pooling)
        return
    wanted = by_transformers(folder, run.vocabulary, cells, layer, pooling)[0]
    found = run.with_(pooling=pooling, layer_of=layer).transform(cells)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_order_company_and_batches_do_not_matter(run, cells):
    vectors = run.transform(cells)
    order = np.random.default_rng(1).permutation(cells.n_obs)
    np.testing.assert_allclose(run.transform(cells[order]), vectors[order], atol=TOLERANCE)
    np.testing.assert_allclose(run.transform(cells[7:8]), vectors[7:8], atol=TOLERANCE)
    np.testing.assert_allclose(run.transform(cells, batch_size=3), vectors, atol=TOLERANCE)


def test_progress_counts_every_cell_across_blocks(run, cells, monkeypatch):
    monkeypatch.setattr("cellwright.representations.geneformer.BLOCK_CELLS", 12)
    told = []
    vectors = run.transform(cells, batch_size=5, progress=lambda *now: told.append(now))
    assert {whole for _, whole in told} == {30}
    done = [now for now, _ in told]
    assert done == sorted(set(done)) and done[-1] == 30 and 12 in done and 24 in done
    monkeypatch.undo()
    np.testing.assert_allclose(vectors, run.transform(cells), atol=TOLERANCE)


def test_it_reads_files_and_layers_and_changes_nothing(run, cells, tmp_path):
    before = cells.copy()
    vectors = run.transform(cells)
    np.testing.assert_array_equal(cells.X.toarray(), before.X.toarray())
    assert not cells.obsm and not cells.uns
    cells.layers["counts"] = cells.X.copy()
    cells.X = np.log1p(cells.X.toarray())
    cells.write_h5ad(tmp_path / "cells.h5ad")
    found = run.transform(tmp_path / "cells.h5ad", layer="counts")
    np.testing.assert_allclose(found, vectors, atol=TOLERANCE)


def test_static_and_contextual_gene_vectors(run, folder, cells):
    genes, static = run.gene_vectors()
    theirs = BertForMaskedLM.from_pretrained(folder).bert.embeddings.word_embeddings.weight
    assert genes == run.vocabulary.gene_ids.tolist()
    np.testing.assert_array_equal(static, theirs.detach().numpy()[run.vocabulary.token_ids_g])
    _, ids_nt, hidden_ntd = by_transformers(folder, run.vocabulary, cells, -2, "mean")
    names, contextual = run.contextual_gene_vectors(cells, min_cells=3)
    tokens = dict(zip(genes, run.vocabulary.token_ids_g.tolist(), strict=True))
    places = {gene: ids_nt == token for gene, token in tokens.items()}
    assert names == [gene for gene in genes if places[gene].sum() >= 3]
    assert 10 < len(names) < GENES
    wanted = np.stack([hidden_ntd[places[gene]].mean(axis=0) for gene in names])
    np.testing.assert_allclose(contextual, wanted, atol=TOLERANCE)
    with pytest.raises(DataError, match=r"in 31 cells.*these 30"):
        run.contextual_gene_vectors(cells, min_cells=31)


def test_saved_and_loaded_it_gives_the_same_and_transformers_reads_it(run, cells, tmp_path):
    changed = run.with_(pooling="mean", layer_of=1)
    changed.save(tmp_path / "again")
    again = load(tmp_path / "again")
    assert isinstance(again, GeneformerRun)
    assert (again.pooling, again.layer_of, again.name) == ("mean", 1, "again")
    np.testing.assert_array_equal(again.transform(cells), changed.transform(cells))
    first, second = (
        BertForMaskedLM.from_pretrained(path).eval() for path in (run.path, tmp_path / "again")
    )
    ids_nt = torch.arange(4, 40).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(first(ids_nt).logits, second(ids_nt).logits)
    with pytest.raises(RunError, match="again exists already"):
        changed.save(tmp_path / "again")


def test_untrained_is_the_same_architecture_by_seed(run, cells):
    first, again = run.untrained(), run.untrained()
    vectors = first.transform(cells)
    assert vectors.shape == (30, 32) and first.name == "untrained small"
    np.testing.assert_array_equal(vectors, again.transform(cells))
    assert not np.allclose(vectors, run.transform(cells), atol=0.1)


def test_a_cell_without_known_genes_is_zero_and_said(cells, tmp_path, caplog):
    write_folder(tmp_path / "small", vocabulary_of("30M"))
    counts = cells.X.toarray()
    counts[4] = 0
    counts[4, 100] = 7
    cells.X = sp.csr_matrix(counts)
    with caplog.at_level(logging.WARNING, "cellwright"):
        vectors = load_geneformer(tmp_path / "small").transform(cells)
    assert not vectors[4].any() and vectors[np.arange(30) != 4].any(axis=1).all()
    assert "1 cells have no gene of the vocabulary of small" in caplog.text


def test_coverage_is_the_share_of_counts(run, cells, caplog):
    wanted = cells.X[:, :GENES].sum() / cells.X.sum()
    assert run.coverage(cells) == pytest.approx(wanted)
    counts = cells.X.toarray()
    counts[:, 100] += 600
    thin = ad.AnnData(sp.csr_matrix(counts), obs=cells.obs, var=cells.var)
    share = counts[:, :GENES].sum() / counts.sum()
    assert 0.1 < share < 0.5
    with caplog.at_level(logging.WARNING, "cellwright"):
        assert run.coverage(thin) == pytest.approx(share)
    assert f"Only {share:.1%} of the counts" in caplog.text
    counts[:, 100] += 6000
    thin = ad.AnnData(sp.csr_matrix(counts), obs=cells.obs, var=cells.var)
    share = counts[:, :GENES].sum() / counts.sum()
    with pytest.raises(DataError, match=rf"only {share:.1%}.*at least 10%.*gene0, gene1"):
        run.transform(thin)
    run.with_(min_coverage=0.0).transform(thin)


def test_log_data_and_foreign_genes_are_refused(run, cells):
    foreign = cells.copy()
    foreign.var_names = [f"Mrpl{i}" for i in range(120)]
    with pytest.raises(DataError, match=r"gene0.*Mrpl0.*mouse"):
        run.transform(foreign)
    cells.X = np.log1p(cells.X.toarray()).astype(np.float32)
    with pytest.raises(DataError, match="counts"):
        run.transform(cells)


def test_vocabularies_that_do_not_fit(folder, series):
    other = vocabulary_of("95M" if series == "30M" else "30M")
    with pytest.raises(RunError, match=rf"vocabulary has {other.n_tokens} tokens.*vocab_size = "):
        load_geneformer(folder, other)
    table = (folder / "vocabulary.tsv").read_text().splitlines()
    (folder / "vocabulary.tsv").write_text("\n".join(r for r in table if "<mask>" not in r) + "\n")
    with pytest.raises(DataError, match=r"without <mask> it was given"):
        load_geneformer(folder)
    (folder / "vocabulary.tsv").unlink()
    with pytest.raises(RunError, match=r"small has none.*--vocabulary.*vocabulary\.tsv"):
        load_geneformer(folder)
    for name in ("a_vocab.tsv", "b_vocab.tsv"):
        vocabulary_of(series).save(folder / name)
    with pytest.raises(RunError, match=r"2 tables \(a_vocab\.tsv, b_vocab\.tsv\)"):
        load_geneformer(folder)
    assert load_geneformer(folder, folder / "a_vocab.tsv").vocabulary.n_tokens == other.n_tokens + (
        -2 if series == "30M" else 2
    )


def test_a_pad_of_another_series(folder):
    settings = json.loads((folder / "config.json").read_text()) | {"pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(RunError, match=r"<pad> is token 0.*pad_token_id = 1"):
        load_geneformer(folder)


def test_unknown_settings(run):
    with pytest.raises(SettingsError, match=r"'max'.*mean, cls"):
        run.with_(pooling="max")
    with pytest.raises(SettingsError, match=r"no layer 4.*3 layers"):
        run.with_(layer_of=4)


def test_batches_hold_every_row_once_longest_first_within_bounds():
    lengths = np.array([5, 900, 3, 3, 0, 40, 41, 3])
    batches = batches_by_length(lengths, tokens=90, cells=3)
    assert sorted(np.concatenate(batches)) == list(range(8))
    assert (np.diff(lengths[np.concatenate(batches)]) <= 0).all()
    assert [b.tolist() for b in batches] == [[1], [6, 5, 0], [2, 3, 7], [4]]
    assert batches_by_length(np.array([], dtype=np.int64)) == []


def test_published_vocabularies_have_the_published_sizes(real_data):
    sizes = {"30M": (25426, None, 2048), "95M": (20275, 2, 4096)}
    for series, (tokens, cls_id, positions) in sizes.items():
        path = real_data / "geneformer_vocab" / f"geneformer_gc{series}_vocab.tsv.gz"
        vocabulary = RankVocabulary.from_tsv(path)
        assert (vocabulary.n_tokens, vocabulary.cls_id) == (tokens, cls_id)
        assert vocabulary.max_tokens == positions


def test_loading_tells_runs_from_checkpoints(folder, tmp_path):
    with pytest.raises(SettingsError, match=r"elsewhere is no checkpoint.*no vocabulary"):
        load(tmp_path / "elsewhere", vocabulary=folder / "vocabulary.tsv")
    with pytest.raises(RunError, match="elsewhere"):
        load(tmp_path / "elsewhere")
    assert not isinstance(load(folder), EncoderRun)
