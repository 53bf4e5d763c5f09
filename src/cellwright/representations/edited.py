"""Rank cells edited and embedded again: only where the tokens that the model reads have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor

from cellwright.data.reading import counts_of, read_cells
from cellwright.models.rank_encoder import RankEncoder
from cellwright.perturbation.edits import Edit, Kind, edit_order, find_genes
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.geneformer_pooling import BATCH_TOKENS
from cellwright.tokens.rank_order import MOST_GENES
from cellwright.tokens.ranked import RankedTokenizer


@dataclass(frozen=True)
class RankedCells:
    """Cells with all their ranked genes, those beyond the model's input too.

    tokens_t, values_t, columns_t: of all cells one after another, highest value first, without
    special tokens; offsets_n: (n + 1,) where each cell starts; limit: genes that the model reads.
    """

    tokens_t: NDArray[np.int32]
    values_t: NDArray[np.float64]
    columns_t: NDArray[np.int32]
    offsets_n: NDArray[np.int64]
    limit: int

    def of(self, cell: int) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
        """Tokens, values and columns of one cell."""
        here = slice(self.offsets_n[cell], self.offsets_n[cell + 1])
        return self.tokens_t[here], self.values_t[here], self.columns_t[here]

    def visible(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The tokens that the model reads, without special ones, and where each cell starts."""
        lengths_n = np.diff(self.offsets_n)
        place_t = np.arange(self.tokens_t.size) - np.repeat(self.offsets_n[:-1], lengths_n)
        offsets_n = np.concatenate([[0], np.cumsum(np.minimum(lengths_n, self.limit))])
        return self.tokens_t[place_t < self.limit], offsets_n


@dataclass(frozen=True)
class Shifts:
    """What pairs of an edit and a cell do, in the order of the pairs.

    changed_p: whether the model's tokens changed; all others are exactly 0 where they did not.
    cosine_p: 1 - cosine of the cell's vector before and after. toward_p: the change of its vector
    along the direction given, 0 without one. genes_p: 1 - cosine of the contextual vectors, mean
    over the cell's genes that are not edited. watched_wv, watched_cells_wv: the same of every
    token, summed over cells, and in how many cells, for the edits that were watched.
    """

    changed_p: NDArray[np.bool_]
    cosine_p: NDArray[np.float64]
    toward_p: NDArray[np.float64]
    genes_p: NDArray[np.float64]
    watched_wv: NDArray[np.float64]
    watched_cells_wv: NDArray[np.int64]


@dataclass(frozen=True)
class EditableRanks:
    """A rank run that embeds edited cells (``interfaces.Editable``).

    batch_tokens: most tokens that pass the model together; it bounds the memory.
    """

    run: GeneformerRun
    device: str = "cpu"
    batch_tokens: int = BATCH_TOKENS

    def rank(self, cells: AnnData, counts_ng: sp.csr_matrix) -> RankedCells:
        """All ranked genes of some cells; ``counts_ng`` has the columns of ``cells``."""
        vocabulary = self.run.vocabulary
        alignment = self.run.align(cells)
        special = self._special
        own = self.run._tokenizer(cells)
        tokenizer = RankedTokenizer(
            vocabulary,
            max_tokens=MOST_GENES + special,
            sort_dtype=own.sort_dtype,
            target_sum=own.target_sum,
        )
        ids_t, offsets_n = tokenizer.for_genes(alignment).ranks(counts_ng)
        real_t = ~np.isin(ids_t, list(vocabulary.special.values()))
        offsets_n = offsets_n - special * np.arange(offsets_n.size)
        tokens_t = ids_t[real_t]
        # The tokenizer's arithmetic: count / total × target / median, summed at the first column.
        column_g = np.full(len(vocabulary), -1, dtype=np.int64)
        held = np.flatnonzero(alignment.genes_m >= 0)[::-1]
        column_g[alignment.genes_m[held]] = held
        gene_v = np.full(vocabulary.n_tokens, -1, dtype=np.int64)
        gene_v[vocabulary.token_ids_g] = np.arange(len(vocabulary))
        gene_t = gene_v[tokens_t]
        known = alignment.genes_m >= 0
        gather = sp.csr_matrix(
            (np.ones(known.sum()), (np.flatnonzero(known), alignment.genes_m[known])),
            shape=(known.size, len(vocabulary)),
        )
        sums = sp.csr_matrix(counts_ng.astype(np.float64) @ gather)
        total_n = np.asarray(counts_ng.sum(axis=1, dtype=np.float64)).ravel()
        values_t = np.empty(tokens_t.size)
        scratch_g = np.zeros(len(vocabulary))
        for n in range(total_n.size):
            row = slice(sums.indptr[n], sums.indptr[n + 1])
            scratch_g[sums.indices[row]] = sums.data[row]
            here = slice(offsets_n[n], offsets_n[n + 1])
            genes = gene_t[here]
            scaled = scratch_g[genes] / total_n[n] * tokenizer.target_sum
            values_t[here] = scaled / vocabulary.medians_g[genes]
        if own.sort_dtype == "float32":
            values_t = values_t.astype(np.float32).astype(np.float64)
        columns_t = column_g[gene_t].astype(np.int32)
        limit = self.run.model.shape.positions - special
        return RankedCells(tokens_t, values_t, columns_t, offsets_n, limit)

    def transform_edited(
        self,
        cells: AnnData | Path | str,
        edits: Sequence[Edit],
        *,
        layer: str | None = None,
        assume_counts: bool = False,
    ) -> NDArray[np.float32]:
        """The vectors of all cells after each edit, (edits, cells, dims).

        Where an edit does not change the tokens that the model reads, the vector is that of
        :meth:`GeneformerRun.transform` to the last bit.

        Raises
        ------
        DataError
            If there are no counts, or a gene is not in the vocabulary.
        """
        cells = read_cells(cells)
        vectors_nd = self.run.transform(
            cells, layer=layer, assume_counts=assume_counts, device=self.device
        )
        counts = counts_of(cells, layer=layer, assume_counts=assume_counts)
        ranked = self.rank(cells, counts)
        vocabulary = self.run.vocabulary
        out = np.repeat(vectors_nd[None], len(edits), axis=0)
        for cell in range(counts.shape[0]):
            variants = []
            for number, edit in enumerate(edits):
                genes = find_genes(edit.genes, vocabulary.gene_ids, vocabulary.symbols)
                tokens = vocabulary.token_ids_g[list(genes)].tolist()
                ids = _edited_ids(ranked, cell, tokens, edit.kind, edit.factor)
                if ids is not None:
                    variants.append(_Variant(number, ids, np.isin(ids, tokens)))
            for batch in _batches(variants, self.batch_tokens):
                _, pooled_kd = self._embed([v.ids for v in batch])
                out[[v.number for v in batch], cell] = pooled_kd.cpu().numpy()
        return out

    def shifts(
        self,
        ranked: RankedCells,
        token_sets: Sequence[Sequence[int]],
        edit_p: NDArray[np.int64],
        cell_p: NDArray[np.int64],
        *,
        kind: Kind,
        factor: float | None = None,
        direction_nd: NDArray[np.float32] | None = None,
        watched: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Shifts:
        """What each pair of an edit and a cell does to the cell and to its other genes.

        One cell after another: its own hidden states and those of one batch are held, no more.

        Parameters
        ----------
        token_sets
            Tokens of each edit.
        edit_p, cell_p
            The pairs, those of one cell together.
        direction_nd
            A direction for each cell; its length is kept in the result.
        watched
            For so many of the first edits every other gene's shift is kept.
        progress
            Called with the pairs done and the pairs to do.
        """
        out = Shifts(
            np.zeros(edit_p.size, dtype=bool),
            np.zeros(edit_p.size),
            np.zeros(edit_p.size),
            np.zeros(edit_p.size),
            np.zeros((watched, self.run.vocabulary.n_tokens)),
            np.zeros((watched, self.run.vocabulary.n_tokens), dtype=np.int64),
        )
        starts = np.flatnonzero(np.diff(cell_p, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], edit_p.size], strict=True):
            cell = int(cell_p[start])
            variants = []
            for p in range(start, stop):
                tokens = list(token_sets[edit_p[p]])
                ids = _edited_ids(ranked, cell, tokens, kind, factor)
                if ids is not None:
                    watch = int(edit_p[p]) if edit_p[p] < watched else -1
                    variants.append(_Variant(p, ids, np.isin(ids, tokens), watch))
            if variants:
                direction = None if direction_nd is None else direction_nd[cell]
                self._shift_cell(ranked.of(cell)[0][: ranked.limit], variants, direction, out)
            if progress is not None:
                progress(int(stop), edit_p.size)
        return out

    def _shift_cell(
        self,
        ids: NDArray[np.int32],
        variants: list[_Variant],
        direction_d: NDArray[np.float32] | None,
        out: Shifts,
    ) -> None:
        (before_td, before_kd) = self._embed([ids])
        before_td, before_d = _unit(before_td), before_kd[0]
        place_v = np.full(self.run.vocabulary.n_tokens, -1, dtype=np.int64)
        place_v[ids] = np.arange(ids.size)
        for batch in _batches(variants, self.batch_tokens):
            rows = np.array([v.number for v in batch])
            after_td, after_kd = self._embed([v.ids for v in batch])
            moved_k = (_unit(after_kd.double()) - _unit(before_d.double())).square().sum(1) / 2
            out.changed_p[rows] = True
            out.cosine_p[rows] = moved_k.cpu().numpy()
            if direction_d is not None:
                change_kd = (after_kd - before_d).double().cpu().numpy()
                out.toward_p[rows] = change_kd @ direction_d.astype(np.float64)
            ids_t = np.concatenate([v.ids for v in batch])
            place_t = place_v[ids_t]
            kept_t = (place_t >= 0) & ~np.concatenate([v.edited for v in batch])
            variant_t = np.repeat(np.arange(len(batch)), [v.ids.size for v in batch])[kept_t]
            then_td = before_td[torch.from_numpy(place_t[kept_t]).to(before_td.device)]
            now_td = _unit(after_td[torch.from_numpy(kept_t).to(after_td.device)])
            moved_t = ((now_td - then_td).square().sum(1) / 2).double().cpu().numpy()
            count_k = np.bincount(variant_t, minlength=len(batch))
            sum_k = np.bincount(variant_t, weights=moved_t, minlength=len(batch))
            out.genes_p[rows] = sum_k / np.maximum(count_k, 1)
            watch_t = np.array([v.watch for v in batch])[variant_t]
            seen_t = watch_t >= 0
            at = (watch_t[seen_t], ids_t[kept_t][seen_t])
            # One cell, so no pair of an edit and a token occurs twice.
            out.watched_wv[at] += moved_t[seen_t]
            out.watched_cells_wv[at] += 1

    @property
    def _special(self) -> int:
        return 0 if self.run.vocabulary.cls_id is None else 2

    @property
    def _model(self) -> RankEncoder:
        return self.run.model.to(self.device)

    def _embed(self, genes: list[NDArray[np.int32]]) -> tuple[Tensor, Tensor]:
        """Hidden states of all genes one after another, and one vector per cell, as the run pools."""
        vocabulary = self.run.vocabulary
        if self._special:
            ends = np.array([vocabulary.cls_id, vocabulary.eos_id], dtype=np.int32)
            cells = [np.concatenate([ends[:1], ids, ends[1:]]) for ids in genes]
        else:
            cells = genes
        lengths = [ids.size for ids in cells]
        ids_t = torch.from_numpy(np.concatenate(cells).astype(np.int64)).to(self.device)
        with torch.no_grad(), torch.autocast(torch.device(self.device).type, enabled=False):
            (hidden_td,) = self._model(ids_t, lengths, hidden_layers=(self.run.layer_of,))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        if self.run.pooling == "cls":
            pooled_kd = hidden_td[torch.from_numpy(starts[:-1]).to(self.device)]
        cell_t = np.repeat(np.arange(len(cells)), lengths)
        if self._special:
            inside_t = np.ones(ids_t.numel(), dtype=bool)
            inside_t[starts[:-1]] = inside_t[starts[1:] - 1] = False
            hidden_td = hidden_td[torch.from_numpy(inside_t).to(self.device)]
            cell_t = cell_t[inside_t]
        if self.run.pooling != "cls":
            sums_kd = hidden_td.new_zeros(len(cells), hidden_td.shape[1])
            sums_kd.index_add_(0, torch.from_numpy(cell_t).to(self.device), hidden_td)
            sizes = torch.tensor([max(ids.size, 1) for ids in genes], device=self.device)
            pooled_kd = sums_kd / sizes.unsqueeze(1)
        return hidden_td, pooled_kd


@dataclass(frozen=True)
class _Variant:
    """One edited cell: where its result goes, its genes, which of them are edited, its watch."""

    number: int
    ids: NDArray[np.int32]
    edited: NDArray[np.bool_] = field(repr=False)
    watch: int = -1


def _edited_ids(
    ranked: RankedCells, cell: int, tokens: Sequence[int], kind: Kind, factor: float | None
) -> NDArray[np.int32] | None:
    """The genes that the model reads after the edit, None where they are those before."""
    order_t, values_t, columns_t = ranked.of(cell)
    before = order_t[: ranked.limit]
    after = edit_order(order_t, values_t, columns_t, tokens, kind, factor)[: ranked.limit]
    return None if np.array_equal(before, after) else after


def _batches(variants: list[_Variant], tokens: int) -> Iterator[list[_Variant]]:
    """Variants in the order given, so many that their tokens stay within the bound."""
    batch: list[_Variant] = []
    held = 0
    for variant in variants:
        if batch and held + variant.ids.size > tokens:
            yield batch
            batch, held = [], 0
        batch.append(variant)
        held += variant.ids.size
    if batch:
        yield batch


def _unit(x_td: Tensor) -> Tensor:
    return x_td / x_td.norm(dim=-1, keepdim=True).clamp_min(1e-30)
