"""A pretrained run as a representation: the same vectors however the counts come."""

from __future__ import annotations

import re
import shutil

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellwright.data.reading import write_cells
from cellwright.data.simulate import simulate
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import GeneVectors, Representation
from cellwright.models.build import build_encoder
from cellwright.representations.encoder import load
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain import pretrain

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def given():
    """120 cells by 50 genes with whole numbers as float32 CSR, split by donor."""
    return simulate(120, 50, seed=0)


@pytest.fixture(scope="module")
def path(given, tmp_path_factory):
    """A run on these cells; nobody may change it."""
    out = tmp_path_factory.mktemp("encoder") / "neurons"
    pretrain(given, out, size="tiny", epochs=2, seed=3)
    return out


@pytest.fixture
def run(path):
    return load(path)


@pytest.fixture
def copy(path, tmp_path):
    """A run folder that a test may damage."""
    shutil.copytree(path, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def cells(given):
    return given.copy()


def remade(cells, counts, **slots):
    return ad.AnnData(counts, obs=cells.obs.copy(), var=cells.var.copy(), **slots)


def test_it_is_a_representation_with_gene_vectors(run):
    assert isinstance(run, Representation) and isinstance(run, GeneVectors)
    assert run.name == "neurons"
    assert not run.model.training


def test_vectors_are_those_of_the_saved_weights(run, path, cells):
    """By hand: bins of the counts, the network rebuilt from its settings, mean over latents."""
    weights = RunFolder(path).read_weights()
    settings = PretrainSettings(size="tiny", epochs=2, seed=3)
    model = build_encoder(settings.encoder, weights["log_frequencies_gk"], 99)
    model.load_state_dict(weights)
    ids_ng = torch.from_numpy(run.tokenizer.bins(cells.X).astype(np.int64))
    with torch.no_grad():
        latents = model.eval().encode(ids_ng, torch.zeros_like(ids_ng, dtype=torch.bool))
    vectors = run.transform(cells)
    assert vectors.shape == (120, 64) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, latents.mean(1).numpy(), atol=TOLERANCE)
    flat = run.with_(pooling="concat").transform(cells)
    np.testing.assert_allclose(flat, latents.flatten(1).numpy(), atol=TOLERANCE)
    assert np.ptp(vectors, axis=0).max() > 0.01


def test_loaded_twice_saved_and_loaded_it_gives_the_same_bits(run, path, cells, tmp_path):
    vectors = run.transform(cells)
    np.testing.assert_array_equal(load(path).transform(cells), vectors)
    run.save(tmp_path / "saved")
    again = load(tmp_path / "saved", name="other")
    np.testing.assert_array_equal(again.transform(cells), vectors)
    assert again.name == "other"


def test_fit_changes_nothing(run, cells):
    before = run.transform(cells)
    assert run.fit(cells[:5]) is run
    np.testing.assert_array_equal(run.transform(cells), before)


def in_two_columns(cells, gene):
    """The counts of one gene, part in its column and part in one more of the same id."""
    counts = cells.X.toarray()
    part_n = counts[:, gene] // 2
    counts[:, gene] -= part_n
    ids = [*cells.var_names, cells.var_names[gene]]
    var = pd.DataFrame({"gene_id": ids}, index=[f"row{i}" for i in range(len(ids))])
    return ad.AnnData(np.column_stack([counts, part_n]), cells.obs, var)


FORMS = {
    "csc": lambda c: remade(c, sp.csc_matrix(c.X)),
    "dense": lambda c: remade(c, c.X.toarray()),
    "integers": lambda c: remade(c, c.X.astype(np.int32)),
    "small integers, dense": lambda c: remade(c, c.X.toarray().astype(np.uint16)),
    "float64": lambda c: remade(c, c.X.astype(np.float64)),
    "a view": lambda c: c[np.arange(c.n_obs)],
    "a layer named counts": lambda c: remade(c, sp.csr_matrix(c.X).log1p(), layers={"counts": c.X}),
    "genes in another order": lambda c: c[:, ::-1].copy(),
    "more genes than the run has": lambda c: ad.concat(
        [c, ad.AnnData(np.full((c.n_obs, 3), 9.0), c.obs, pd.DataFrame(index=["X1", "X2", "X3"]))],
        axis=1,
        merge="first",
    ),
    "ids with versions": lambda c: ad.AnnData(
        c.X, c.obs, c.var.set_index(c.var_names + ".7", drop=False)
    ),
    "symbols for ids": lambda c: ad.AnnData(
        c.X, c.obs, pd.DataFrame(index=c.var["gene_symbol"].astype(str).to_numpy())
    ),
    "a gene in two columns": lambda c: in_two_columns(c, 3),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_counts_give_the_same_vectors_in_any_form(run, cells, form):
    expected = run.transform(cells)
    given = FORMS[form](cells)
    np.testing.assert_allclose(run.transform(given), expected, atol=TOLERANCE)


def test_a_layer_by_name(run, cells):
    logged = remade(cells, sp.csr_matrix(cells.X).log1p(), layers={"raw_counts": cells.X})
    np.testing.assert_allclose(
        run.transform(logged, layer="raw_counts"), run.transform(cells), atol=TOLERANCE
    )


def test_a_file_read_whole_or_in_part(run, cells, tmp_path):
    write_cells(cells, tmp_path / "cells.h5ad")
    expected = run.transform(cells)
    np.testing.assert_allclose(run.transform(tmp_path / "cells.h5ad"), expected, atol=TOLERANCE)
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    np.testing.assert_allclose(run.transform(backed), expected, atol=TOLERANCE)
    backed.file.close()


def test_a_cell_has_the_same_vector_in_any_company(run, cells):
    expected = run.transform(cells)
    for batch_size in (1, 7, 500):
        vectors = run.transform(cells, batch_size=batch_size)
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    order = np.random.default_rng(0).permutation(cells.n_obs)
    np.testing.assert_allclose(run.transform(cells[order]), expected[order], atol=1e-5)
    np.testing.assert_allclose(run.transform(cells[7:8]), expected[7:8], atol=1e-5)


def test_cells_are_left_as_they_were(run, cells):
    before = cells.copy()
    run.transform(cells)
    run.seen(cells)
    assert (cells.X != before.X).nnz == 0
    assert cells.obs.equals(before.obs) and cells.var.equals(before.var)
    assert list(cells.obsm) == list(before.obsm) and list(cells.layers) == []


def test_an_empty_cell_has_a_vector_too(run, cells):
    counts = cells.X.toarray()
    counts[4] = 0
    vectors = run.transform(remade(cells, counts))
    assert np.isfinite(vectors).all()


def test_missing_genes_are_hidden_and_not_zero(run, cells, caplog):
    """By hand: the counts of the others, with the missing ones out of sight."""
    some = cells[:, 5:].copy()
    with caplog.at_level("WARNING", logger="cellwright"):
        vectors = run.transform(some)
    symbols = cells.var["gene_symbol"].astype(str).tolist()
    assert "45 of the 50 genes of neurons (90.0%)" in caplog.text
    assert ", ".join(symbols[:5]) in caplog.text
    counts = cells.X.toarray()
    counts[:, :5] = 0
    ids_ng = torch.from_numpy(run.tokenizer.bins(counts).astype(np.int64))
    hidden_ng = torch.zeros_like(ids_ng, dtype=torch.bool)
    hidden_ng[:, :5] = True
    with torch.no_grad():
        expected = run.model.pool(ids_ng, hidden_ng, "mean").numpy()
    np.testing.assert_allclose(vectors, expected, atol=TOLERANCE)
    as_zero = run.transform(remade(cells, counts))
    assert np.abs(vectors - as_zero).max() > 1e-3


def test_too_few_genes_are_refused_until_told_otherwise(run, cells):
    few = cells[:, 20:].copy()
    first = str(cells.var["gene_symbol"].iloc[0])
    with pytest.raises(
        DataError,
        match=rf"only 30 of the 50 genes of neurons \(60\.0%\), expected at least 80%; missing: "
        rf"{first}.*human.*--min-coverage",
    ):
        run.transform(few)
    assert run.with_(min_coverage=0.5).transform(few).shape == (120, 64)
    with pytest.raises(DataError, match="expected at least 95%"):
        run.with_(min_coverage=0.95).transform(cells[:, 5:].copy())


@pytest.mark.parametrize("names", ["ids", "symbols"])
def test_mouse_genes_are_refused_by_name_of_the_species(run, cells, names):
    symbols = cells.var["gene_symbol"].astype(str)
    index = (
        [f"ENSMUSG{i:011d}" for i in range(cells.n_vars)]
        if names == "ids"
        else [s[0] + s[1:].lower() for s in symbols]
    )
    mouse = ad.AnnData(cells.X, cells.obs, pd.DataFrame(index=index))
    with pytest.raises(
        DataError, match=r"none of the 50 genes.*look like mouse, the model like human"
    ):
        run.transform(mouse)


def test_what_are_no_counts_is_refused(run, cells):
    with pytest.raises(DataError, match="log-normalized"):
        run.transform(remade(cells, sp.csr_matrix(cells.X).log1p()))
    counts = cells.X.toarray()
    counts[3, 4] = np.nan
    with pytest.raises(DataError, match="NaN"):
        run.transform(remade(cells, counts))


def test_gene_vectors_are_those_the_genes_are_read_with(run, path, cells):
    ids, vectors = run.gene_vectors()
    assert (
        ids
        == cells.var_names.tolist()
        == Vocabulary.load(path / "vocabulary.tsv").gene_ids.tolist()
    )
    np.testing.assert_array_equal(vectors, RunFolder(path).read_weights()["gene_gd"].numpy())
    assert vectors.shape == (50, 64) and vectors.dtype == np.float32


def test_untrained_it_is_what_training_started_from(run, cells):
    start = run.untrained()
    fresh = build_encoder(run.settings.encoder, run.model.log_frequencies_gk, 3)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(start.model.state_dict()[name], tensor)
    assert start.name == "untrained neurons" and not start.model.training
    vectors = start.transform(cells)
    assert vectors.shape == run.transform(cells).shape
    assert np.abs(vectors - run.transform(cells)).max() > 1e-3


def test_the_name_the_pooling_and_the_bound_can_be_changed(run):
    other = run.with_(name="other", pooling="concat", min_coverage=0.0)
    assert (other.name, other.pooling, other.min_coverage) == ("other", "concat", 0.0)
    assert (run.name, run.pooling, run.min_coverage) == ("neurons", "mean", 0.8)
    with pytest.raises(SettingsError, match=r"pooling is 'max', expected one of mean, concat"):
        run.with_(pooling="max")


def test_what_it_has_seen(run, cells):
    parts = dict(zip(run.cells.names_n.tolist(), run.cells.parts_n.tolist(), strict=True))
    expected = ["clean" if parts[name] == "test" else "seen-unlabelled" for name in cells.obs_names]
    assert set(expected) == {"clean", "seen-unlabelled"}
    assert run.seen(cells).tolist() == expected
    renamed = cells.copy()
    renamed.obs_names = [f"copy-{i}" for i in range(cells.n_obs)]
    assert run.seen(renamed).tolist() == expected
    shuffled = cells[::-1, ::-1].copy()
    assert run.seen(shuffled).tolist() == expected[::-1]
    others = simulate(30, 50, seed=9)
    others.obs_names = cells.obs_names[:30]
    assert set(run.seen(others)) == {"clean"}
    # Without all the genes counts cannot be compared, and the names tell.
    assert run.seen(cells[:, 5:].copy()).tolist() == expected


@pytest.mark.parametrize(
    "name",
    [
        "config.toml",
        "vocabulary.tsv",
        "tokenizer.npz",
        "model.safetensors",
        "metrics.json",
        "cells.txt.gz",
    ],
)
def test_a_missing_file_is_one_sentence_that_names_it(copy, name):
    (copy / name).unlink()
    with pytest.raises(RunError, match=re.escape(name)):
        load(copy)


@pytest.mark.parametrize("content", [b"foreign\n", b"\x00\xff\xfe"])
@pytest.mark.parametrize(
    "name", ["config.toml", "vocabulary.tsv", "tokenizer.npz", "model.safetensors", "cells.txt.gz"]
)
def test_a_foreign_file_is_one_sentence_that_names_it(copy, name, content):
    (copy / name).write_bytes(content)
    with pytest.raises(RunError, match=re.escape(name)):
        load(copy)


def test_an_unfinished_run_says_how_to_continue(copy):
    for name in ("metrics.json", "model.safetensors"):
        (copy / name).unlink()
        with pytest.raises(RunError, match=r"did not reach its end.*--resume continues it"):
            load(copy)


def test_a_file_of_another_run_is_one_sentence(copy):
    folder = RunFolder(copy)
    weights = folder.read_weights()
    narrow = {
        name: tensor[..., :7].clone() if tensor.ndim else tensor for name, tensor in weights.items()
    }
    folder.write_weights("model.safetensors", narrow)
    with pytest.raises(RunError, match=r"model\.safetensors does not fit .*config\.toml: "):
        load(copy)
    folder.write_weights("model.safetensors", {"a": torch.zeros(2)})
    with pytest.raises(RunError, match=r"model\.safetensors is not an encoder of cellwright"):
        load(copy)
    folder.write_weights("model.safetensors", weights)
    vocabulary = Vocabulary.load(copy / "vocabulary.tsv")
    Vocabulary(vocabulary.gene_ids[:9], vocabulary.symbols[:9]).save(copy / "vocabulary.tsv")
    with pytest.raises(RunError, match=r"vocabulary has 9 genes, the tokenizer 50, the weights 50"):
        load(copy)


def test_an_unknown_tokenizer_is_named(copy):
    folder = RunFolder(copy)
    _, state = folder.read_tokenizer()
    folder.write_tokenizer("ranked", state)
    with pytest.raises(RunError, match=r"tokenizer of kind 'ranked', expected one of binned"):
        load(copy)
    folder.write_tokenizer("cell-binned", state)
    with pytest.raises(RunError, match=r"'binned', expected 'cell-binned'"):
        load(copy)


def test_settings_of_another_kind_are_named(copy):
    RunFolder(copy).write_config({"latent_dims": 10})
    with pytest.raises(RunError, match=r"not a pretraining run: unknown setting 'latent_dims'"):
        load(copy)


def test_no_folder(tmp_path):
    with pytest.raises(RunError, match=r"no run folder at .*nowhere"):
        load(tmp_path / "nowhere")


def test_a_run_by_full_attention_and_bins_per_cell(tmp_path, cells):
    out = tmp_path / "full"
    pretrain(
        cells,
        out,
        attention="full",
        tokenizer="cell-binned",
        num_bins=6,
        width=16,
        heads=2,
        layers=1,
        epochs=1,
        mask_nonzero="count",
    )
    run = load(out)
    assert run.transform(cells).shape == (120, 16)
    np.testing.assert_allclose(
        run.transform(cells[:, ::-1].copy()), run.transform(cells), atol=TOLERANCE
    )
    assert run.with_(pooling="concat").transform(cells[:3]).shape == (3, 50 * 16)
