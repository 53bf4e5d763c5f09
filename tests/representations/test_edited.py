"""Edited cells: tokens against a rebuild in plain Python, vectors against a full transform."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellwright.interfaces import Editable
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.perturbation.edits import Edit
from cellwright.representations.edited import EditableRanks
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.geneformer_pooling import PackedCells, cell_means
from cellwright.tokens.rank_vocabulary import RankVocabulary

GENES, IN_MODEL, INPUT = 60, 50, 24


@pytest.fixture
def cells():
    """Counts with ties, one gene in two columns, and a cell with a single gene."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.6, 1.5, GENES), (40, GENES)).astype(np.float32)
    counts[7] = 0
    counts[7, 3] = 2
    names = [f"gene{g}" for g in range(GENES)]
    out = ad.AnnData(sp.csr_matrix(counts))
    out.obs_names = [f"cell{n}" for n in range(40)]
    # The last column is gene 2 once more.
    out.var["gene_symbol"] = [*names[:-1], "gene2"]
    out.var_names = [f"column{g}" for g in range(GENES)]
    return out


def run_of(pooling):
    names = np.array([f"gene{g}" for g in range(IN_MODEL)])
    special = {"<pad>": 0, "<mask>": 1}
    if pooling == "cls":
        special |= {"<cls>": 2, "<eos>": 3}
    medians = np.random.default_rng(1).choice([1.0, 2.0, 4.0], IN_MODEL)
    first = len(special)
    vocabulary = RankVocabulary(names, names, medians, first + np.arange(IN_MODEL), special)
    shape = RankShape(vocabulary.n_tokens, 16, 3, 2, 24, INPUT)
    model = random_rank_encoder(shape, 0).eval()
    return GeneformerRun("small", None, model, {}, vocabulary, pooling)


def rebuilt(run, cells, n, edit):
    """The tokens of one cell after an edit, from its counts, without NumPy's sorting."""
    vocabulary = run.vocabulary
    token = dict(zip(vocabulary.gene_ids.tolist(), vocabulary.token_ids_g.tolist(), strict=True))
    median = dict(zip(vocabulary.gene_ids.tolist(), vocabulary.medians_g.tolist(), strict=True))
    row = cells.X[n].toarray()[0].astype(float)
    total = float(row.sum())
    count, column = {}, {}
    for m, name in enumerate(cells.var["gene_symbol"]):
        if name in token and row[m] > 0:
            count[name] = count.get(name, 0.0) + float(row[m])
        if name in token:
            column.setdefault(name, m)
    value = {name: c / total * 1e4 / median[name] for name, c in count.items()}
    if edit is not None and edit.kind == "scale":
        value = {g: v * edit.factor if g in edit.genes else v for g, v in value.items()}
    order = sorted(value, key=lambda name: (-value[name], column[name]))
    if edit is not None and edit.kind in ("delete", "raise"):
        order = [name for name in order if name not in edit.genes]
    if edit is not None and edit.kind == "raise":
        order = [*edit.genes, *order]
    ends = 0 if vocabulary.cls_id is None else 2
    ids = [token[name] for name in order[: INPUT - ends]]
    return ids if not ends else [vocabulary.cls_id, *ids, vocabulary.eos_id]


EDITS = (
    Edit("delete", ("gene2",)),
    Edit("delete", ("gene3", "gene10", "gene11")),
    Edit("raise", ("gene40", "gene2")),
    Edit("scale", ("gene5",), 2.0),
    Edit("scale", ("gene5", "gene2", "gene30"), 0.25),
)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_a_transform_of_the_edited_lists(cells, pooling):
    run = run_of(pooling)
    found = EditableRanks(run).transform_edited(cells, EDITS)
    assert found.shape == (len(EDITS), 40, 16)
    for edit, vectors in zip(EDITS, found, strict=True):
        lists = [rebuilt(run, cells, n, edit) for n in range(40)]
        offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])])
        packed = PackedCells(np.concatenate(lists).astype(np.int32), offsets)
        wanted = cell_means(
            run.model,
            packed,
            hidden_layer=run.layer_of,
            pooling=pooling,
            special_ids=list(run.vocabulary.special.values()),
        )
        np.testing.assert_allclose(vectors, wanted, atol=2e-6)


def test_a_cell_without_the_gene_keeps_its_vector_to_the_last_bit(cells):
    run = run_of("mean")
    before = run.transform(cells)
    for edit in (EDITS[0], EDITS[3]):
        (after,) = EditableRanks(run).transform_edited(cells, [edit])
        same = [rebuilt(run, cells, n, edit) == rebuilt(run, cells, n, None) for n in range(40)]
        assert 0 < sum(same) < 40
        np.testing.assert_array_equal(after[same], before[same])
        assert (np.abs(after - before)[~np.array(same)].max(axis=1) > 0).all()


def test_a_wrapped_run_is_editable():
    assert isinstance(EditableRanks(run_of("mean")), Editable)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_shifts_are_those_of_the_vectors_and_of_every_other_gene(cells, pooling):
    run = run_of(pooling)
    editor = EditableRanks(run, batch_tokens=60)
    ranked = editor.rank(cells, sp.csr_matrix(cells.X))
    edits = [Edit("delete", ("gene2",)), Edit("delete", ("gene3", "gene10"))]
    token = dict(
        zip(run.vocabulary.gene_ids.tolist(), run.vocabulary.token_ids_g.tolist(), strict=True)
    )
    sets = [[token[gene] for gene in edit.genes] for edit in edits]
    edit_p, cell_p = np.tile([0, 1], 40), np.repeat(np.arange(40), 2)
    direction_nd = np.random.default_rng(2).normal(size=(40, 16)).astype(np.float32)
    found = editor.shifts(
        ranked, sets, edit_p, cell_p, kind="delete", direction_nd=direction_nd, watched=1
    )
    before = run.transform(cells).astype(np.float64)
    after = editor.transform_edited(cells, edits).astype(np.float64)
    moved = after[edit_p, cell_p]
    start = before[cell_p]
    norms = np.linalg.norm(moved, axis=1) * np.linalg.norm(start, axis=1)
    some = norms > 0
    cosine = 1 - (moved * start).sum(axis=1)[some] / norms[some]
    np.testing.assert_allclose(found.cosine_p[some], cosine, atol=1e-6)
    toward = ((moved - start) * direction_nd[cell_p]).sum(axis=1)
    np.testing.assert_allclose(found.toward_p, toward, atol=1e-5)
    assert (found.cosine_p[~found.changed_p] == 0).all()
    assert (found.genes_p[~found.changed_p] == 0).all()
    assert (found.toward_p[~found.changed_p] == 0).all()
    # Other genes, one cell at a time, from the hidden states of the rebuilt lists.
    total = {}
    for p in np.flatnonzero(found.changed_p & (cell_p != 7)):
        was = hidden(run, rebuilt(run, cells, cell_p[p], None))
        now = hidden(run, rebuilt(run, cells, cell_p[p], edits[edit_p[p]]))
        moved_of = {
            t: 1 - now[t] @ was[t] / np.linalg.norm(now[t]) / np.linalg.norm(was[t])
            for t in now
            if t in was and t not in sets[edit_p[p]]
        }
        assert found.genes_p[p] == pytest.approx(np.mean(list(moved_of.values())), abs=1e-6)
        if edit_p[p] == 0:
            for t, value in moved_of.items():
                total.setdefault(t, []).append(value)
    for t, values in total.items():
        assert found.watched_cells_wv[0, t] == len(values)
        assert found.watched_wv[0, t] == pytest.approx(sum(values), abs=1e-5)
    assert found.watched_cells_wv[0].sum() == sum(map(len, total.values()))


def hidden(run, ids):
    with torch.no_grad():
        (states,) = run.model(torch.tensor(ids), [len(ids)], hidden_layers=(run.layer_of,))
    special = set(run.vocabulary.special.values())
    return {t: s for t, s in zip(ids, states.double().numpy(), strict=True) if t not in special}


def test_the_size_of_batches_changes_nothing(cells):
    run = run_of("mean")
    one = EditableRanks(run, batch_tokens=1).transform_edited(cells, EDITS)
    many = EditableRanks(run, batch_tokens=10_000).transform_edited(cells, EDITS)
    np.testing.assert_allclose(one, many, atol=2e-6)
