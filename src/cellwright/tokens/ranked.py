"""Rank tokens: the genes of a cell in the order of their expression relative to their usual level."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import RowBlock, TokenBatch
from cellwright.tokens.normalize import as_csr
from cellwright.tokens.rank_order import MOST_GENES, rank_cells, survey_cells
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.vocabulary import Alignment

SortDtype = Literal["float64", "float32"]


class RankedTokenizer:
    """Genes of each cell sorted by count / all counts of the cell × ``target_sum`` / median.

    All counts given count for a cell's total, those of genes outside the vocabulary too. Values
    are float64, computed in that order, and descend; equal ones keep the order of their columns.
    The first ``max_tokens`` stay, ``<cls>`` and ``<eos>`` among them where the vocabulary has
    them. Which column is which gene is told once by :meth:`for_genes`; without it the columns are
    the genes of the vocabulary in their order.

    Parameters
    ----------
    vocabulary
        Tokens and medians; None to learn medians with :meth:`fit`.
    max_tokens
        Most tokens of a cell, special ones included; default 4,096 with ``<cls>``, else 2,048.
    sort_dtype
        ``float32`` rounds the values before they are sorted, as some published copies do.
    target_sum
        Sum of a cell after scaling.

    Attributes
    ----------
    vocabulary_ : the vocabulary in use
    genes_m_ : (m,) the gene of each column of the counts, -1 for none

    Raises
    ------
    SettingsError
        If a setting cannot work.

    References
    ----------
    Theodoris et al. (2023), Transfer learning enables predictions in network biology, Nature;
    ``geneformer/tokenizer.py``.
    """

    name: ClassVar[str] = "ranked"

    def __init__(
        self,
        vocabulary: RankVocabulary | None = None,
        *,
        max_tokens: int | None = None,
        sort_dtype: SortDtype = "float64",
        target_sum: float = 1e4,
    ) -> None:
        if max_tokens is not None and max_tokens < 3:
            raise SettingsError(f"max_tokens is {max_tokens}, expected 3 or more")
        if sort_dtype not in ("float64", "float32"):
            raise SettingsError(f"sort_dtype is {sort_dtype!r}, expected 'float64' or 'float32'")
        if not (np.isfinite(target_sum) and target_sum > 0):
            raise SettingsError(f"target_sum is {target_sum}, expected a number above 0")
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens
        self.sort_dtype = sort_dtype
        self.target_sum = target_sum
        if vocabulary is not None:
            self._set(vocabulary, np.arange(len(vocabulary)))

    @property
    def limit(self) -> int:
        """Most tokens of a cell."""
        return self.vocabulary_.max_tokens if self.max_tokens is None else self.max_tokens

    @property
    def n_genes(self) -> int:
        """Columns that the counts must have."""
        return int(self.genes_m_.size)

    @property
    def n_values(self) -> int:
        """How many rank positions there can be."""
        return self.limit

    @property
    def rule(self) -> str:
        """The rule in words, to stand beside every figure."""
        return (
            f"genes ranked by count per {self.target_sum:,.0f} over the nonzero median, "
            f"the first {self.limit:,} tokens, sorted as {self.sort_dtype}"
        )

    def fit(self, blocks: Iterable[RowBlock]) -> Self:
        """Take nonzero medians from training cells in one pass; with a vocabulary given there is
        nothing to learn and the blocks are not read.

        Parameters
        ----------
        blocks
            Counts of training cells only. Genes are called by their column ("0", "1", ...);
            :meth:`RankVocabulary.from_training` takes names.

        Raises
        ------
        DataError
            If there are no cells with counts, or blocks differ in their genes.
        """
        if self.vocabulary is not None:
            return self
        stream = iter(blocks)
        first = next(stream, None)
        if first is None:
            raise DataError("nonzero medians need training cells, none were given")

        def all_blocks() -> Iterable[RowBlock]:
            yield first
            yield from stream

        m = first.counts_ng.shape[1]
        found = RankVocabulary.from_training(
            all_blocks(), np.arange(m).astype(np.str_), target_sum=self.target_sum
        )
        genes_m = np.full(m, -1, dtype=np.int64)
        genes_m[found.gene_ids.astype(np.int64)] = np.arange(len(found))
        self._set(found, genes_m)
        return self

    def for_genes(self, genes: pd.DataFrame | Alignment) -> Self:
        """A tokenizer for counts whose columns are the genes of a ``var`` table.

        Columns of one gene are summed and stand at the first of them.

        Raises
        ------
        DataError
            If the vocabulary has not one of the genes.
        """
        alignment = genes if isinstance(genes, Alignment) else self.vocabulary_.align(genes)
        out = copy.copy(self)
        out._set(self.vocabulary_, alignment.genes_m)
        return out

    def ranks(
        self, counts_ng: Any, *, totals_n: NDArray[np.float64] | None = None, threads: int = 1
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The tokens of some cells, without padding.

        Parameters
        ----------
        counts_ng
            Counts, cells × all genes measured, columns as told.
        totals_n
            (n,) all counts of each cell where columns were cut away before; default their sum.
        threads
            Threads to spread the cells over; the result does not depend on it.

        Returns
        -------
        token ids of all cells one after another, and (n + 1,) where each cell begins. A cell
        without a gene of the vocabulary has its special tokens only.

        Raises
        ------
        DataError
            If the columns are not as many as told, a count is negative or not finite, or a total
            is below the counts given.
        """
        counts = counts_ng if isinstance(counts_ng, sp.csr_matrix) else sp.csr_matrix(counts_ng)
        if not counts.has_canonical_format or counts.shape[1] != self.n_genes:
            counts = as_csr(counts, genes=self.n_genes)
        n = counts.shape[0]
        parts = _parts(counts.indptr, threads)
        sums_n, sizes_n = np.empty(n, dtype=np.float64), np.empty(n, dtype=np.int64)
        columns = (counts.indptr, counts.indices, counts.data)

        def survey(part: tuple[int, int]) -> bool:
            return survey_cells(*columns, self._median_of_m, *part, sums_n, sizes_n)

        with ThreadPoolExecutor(threads) as pool:
            spread = pool.map if threads > 1 else map
            if not all(spread(survey, parts)):
                as_csr(counts)
            totals_n = sums_n if totals_n is None else _checked_totals(totals_n, sums_n)
            if self._place_mm is not None:
                counts = sp.csr_matrix(counts.astype(np.float64) @ self._place_mm)
                counts.sort_indices()
                columns = (counts.indptr, counts.indices, counts.data)
                all(spread(survey, parts))
            tokens, offsets, firsts, kept_n = self._room(sizes_n)

            def rank(part: tuple[int, int]) -> None:
                rank_cells(
                    *columns,
                    totals_n,
                    self._token_of_m,
                    self._median_of_m,
                    self.target_sum,
                    self.sort_dtype == "float32",
                    *part,
                    firsts,
                    kept_n,
                    tokens,
                )

            list(spread(rank, parts))
        return tokens, offsets

    def encode(self, counts_ng: Any, *, totals_n: NDArray[np.float64] | None = None) -> TokenBatch:
        """Tokens of some cells, padded to the longest of them.

        ``gene_ids_nt``: token ids, special ones included; ``value_ids_nt``: positions 0, 1, 2 ...
        in the cell, 0 for padding; ``pad_nt``: True behind the end of a cell.
        """
        tokens, offsets = self.ranks(counts_ng, totals_n=totals_n)
        lengths_n = np.diff(offsets)
        at_t = np.arange(int(lengths_n.max(initial=0)))
        pad_nt = at_t[None, :] >= lengths_n[:, None]
        gene_ids_nt = np.full(pad_nt.shape, self.vocabulary_.pad_id, dtype=np.int64)
        gene_ids_nt[~pad_nt] = tokens
        return TokenBatch(gene_ids_nt, np.where(pad_nt, 0, at_t).astype(np.int64), pad_nt)

    def counts_inside(self, counts_ng: Any) -> NDArray[np.float64]:
        """(n,) the counts of each cell that are of genes in the vocabulary."""
        counts = as_csr(counts_ng, genes=self.n_genes)
        return np.asarray(counts @ (self.genes_m_ >= 0).astype(np.float64)).ravel()

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learned and set, as plain arrays."""
        vocabulary = self.vocabulary_
        cells_g = vocabulary.n_cells_g
        return {
            "tokenizer": np.asarray(self.name),
            "max_tokens": np.asarray(self.limit),
            "sort_dtype": np.asarray(self.sort_dtype),
            "target_sum": np.asarray(self.target_sum, dtype=np.float64),
            "gene_ids": vocabulary.gene_ids,
            "symbols": vocabulary.symbols,
            "medians_g": vocabulary.medians_g,
            "token_ids_g": vocabulary.token_ids_g,
            "special_names": np.array(list(vocabulary.special), dtype=np.str_),
            "special_ids": np.array(list(vocabulary.special.values()), dtype=np.int64),
            "n_cells_g": np.empty(0, dtype=np.int64) if cells_g is None else cells_g,
            "genes_m": self.genes_m_,
        }

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]]) -> Self:
        """The tokenizer that :meth:`state` described.

        Raises
        ------
        RunError
            If an array is missing or belongs to another tokenizer.
        """
        found = str(state.get("tokenizer", "nothing"))
        if found != cls.name:
            raise RunError(f"the saved tokenizer is {found!r}, expected {cls.name!r}")
        try:
            special = zip(
                state["special_names"].tolist(), state["special_ids"].tolist(), strict=True
            )
            vocabulary = RankVocabulary(
                gene_ids=state["gene_ids"],
                symbols=state["symbols"],
                medians_g=state["medians_g"],
                token_ids_g=state["token_ids_g"],
                special=dict(special),
                n_cells_g=state["n_cells_g"] if state["n_cells_g"].size else None,
            )
            out = cls(
                vocabulary,
                max_tokens=int(state["max_tokens"]),
                sort_dtype="float32" if str(state["sort_dtype"]) == "float32" else "float64",
                target_sum=float(state["target_sum"]),
            )
            out._set(vocabulary, state["genes_m"])
        except KeyError as error:
            raise RunError(f"the saved tokenizer lacks {error.args[0]!r}") from None
        except DataError as error:
            raise RunError(f"the saved tokenizer is damaged: {error}") from None
        return out

    def _room(
        self, sizes_n: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Room for all tokens with the special ones in place, where cells begin, where their
        genes begin, and how many genes each keeps."""
        cls_id, eos_id = self.vocabulary_.cls_id, self.vocabulary_.eos_id
        special = 0 if cls_id is None else 2
        kept_n = np.minimum(sizes_n, self.limit - special)
        offsets = np.zeros(sizes_n.size + 1, dtype=np.int64)
        np.cumsum(kept_n + special, out=offsets[1:])
        tokens = np.empty(int(offsets[-1]), dtype=np.int32)
        if cls_id is not None and eos_id is not None:
            tokens[offsets[:-1]] = cls_id
            tokens[offsets[1:] - 1] = eos_id
        return tokens, offsets, offsets[:-1] + special // 2, kept_n

    def _set(self, vocabulary: RankVocabulary, genes_m: NDArray[np.int64]) -> None:
        self.vocabulary_ = vocabulary
        self.genes_m_: NDArray[np.int64] = np.asarray(genes_m, dtype=np.int64)
        known = np.flatnonzero(self.genes_m_ >= 0)
        genes = self.genes_m_[known]
        if known.size >= MOST_GENES:
            raise DataError(
                f"a tokenizer ranks fewer than {MOST_GENES:,} genes, {known.size:,} were given"
            )
        _, first, group = np.unique(genes, return_index=True, return_inverse=True)
        # A gene stands where its first column does; the others are added there.
        leading = known[first]
        self._place_mm: sp.csr_matrix | None = None
        if leading.size < known.size:
            shape = (self.genes_m_.size, self.genes_m_.size)
            self._place_mm = sp.csr_matrix(
                (np.ones(known.size), (known, leading[group])), shape=shape
            )
        self._token_of_m = np.full(self.genes_m_.size, -1, dtype=np.int32)
        self._token_of_m[leading] = vocabulary.token_ids_g[self.genes_m_[leading]]
        # No median, no token: 0.
        self._median_of_m = np.zeros(self.genes_m_.size, dtype=np.float64)
        self._median_of_m[leading] = vocabulary.medians_g[self.genes_m_[leading]]


def _parts(indptr: NDArray[Any], threads: int) -> list[tuple[int, int]]:
    """Ranges of cells of about equal work, a few for each thread."""
    n = indptr.size - 1
    if threads <= 1:
        return [(0, n)]
    at = np.linspace(0, indptr[-1], 4 * threads + 1)[1:-1]
    bounds = np.unique([0, *np.searchsorted(indptr, at).tolist(), n]).tolist()
    return list(itertools.pairwise(bounds))


def _checked_totals(
    given_n: NDArray[np.float64], sums_n: NDArray[np.float64]
) -> NDArray[np.float64]:
    totals_n = np.ascontiguousarray(given_n, dtype=np.float64)
    if totals_n.shape != sums_n.shape:
        raise DataError(f"{totals_n.size} totals were given for {sums_n.size} cells")
    wrong = ~(totals_n >= sums_n) | ~np.isfinite(totals_n)
    if wrong.any():
        raise DataError(
            f"the total of a cell is {totals_n[wrong][0]:g}, but its counts add up to "
            f"{sums_n[wrong][0]:g}; give all counts of each cell, or none"
        )
    return totals_n
