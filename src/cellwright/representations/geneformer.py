"""Published Geneformer checkpoints as representations: ranked cells in, pooled vectors out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_folder
from cellwright.data.blocks import iter_blocks
from cellwright.data.genes import gene_names
from cellwright.data.reading import read_cells
from cellwright.errors import DataError, SettingsError
from cellwright.interfaces import RowBlock
from cellwright.models.rank_encoder import RankEncoder, random_rank_encoder
from cellwright.representations.geneformer_files import write_checkpoint
from cellwright.representations.geneformer_pooling import (
    POOLINGS,
    PackedCells,
    cell_means,
    token_sums,
)
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer
from cellwright.tokens.vocabulary import Alignment

log = logging.getLogger(__name__)

VOCABULARY = "vocabulary.tsv"
MIN_COVERAGE, GOOD_COVERAGE = 0.1, 0.5
BLOCK_CELLS = 4096
# Both published series are read at the last layer but one: the last serves the masked tokens.
LAYER = -2
OURS = "cellwright"


@dataclass(frozen=True)
class GeneformerRun:
    """A checkpoint with its vocabulary: frozen, so that ``fit`` changes nothing.

    name: under which its vectors are stored; model: in evaluation mode; config: its
    ``config.json``; vocabulary: genes with medians and tokens; pooling: ``mean`` over tokens that
    are not special, or ``cls``; layer_of: which hidden states, 0 the embedding, -1 the last layer;
    min_coverage: least share of the cells' counts that genes of the vocabulary must hold.
    """

    name: str
    path: Path
    model: RankEncoder
    config: dict[str, Any]
    vocabulary: RankVocabulary
    pooling: str
    layer_of: int = LAYER
    min_coverage: float = MIN_COVERAGE

    def fit(self, cells: Any) -> Self:
        """Return the checkpoint unchanged: it is trained already."""
        return self

    def transform(
        self,
        cells: AnnData | Path | str,
        *,
        layer: str | None = None,
        assume_counts: bool = False,
        batch_size: int = 128,
        device: str = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Embed cells.

        Parameters
        ----------
        cells
            AnnData (in memory, backed, or a view) or a path, with all genes that were measured:
            the counts of genes outside the vocabulary count for a cell's total.
        batch_size
            Most cells in a batch; long cells come in smaller ones.
        progress
            Called with the cells done and the cells to do.

        Returns
        -------
        (n, width) float32; zeros for a cell without a gene of the vocabulary.

        Raises
        ------
        DataError
            If there are no counts, or too few of them are of the vocabulary's genes.
        """
        cells = read_cells(cells)
        self.coverage(cells, layer=layer, assume_counts=assume_counts)
        model = self.model.to(device)
        parts: list[NDArray[np.float32]] = []
        for packed in self._packed(cells, layer, assume_counts):
            before = sum(map(len, parts))

            def tell(done: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, cells.n_obs)

            parts.append(
                cell_means(
                    model,
                    packed,
                    hidden_layer=self.layer_of,
                    pooling=self.pooling,
                    special_ids=list(self.vocabulary.special.values()),
                    batch_size=batch_size,
                    progress=tell,
                )
            )
        return np.concatenate(parts)

    def align(self, cells: AnnData) -> Alignment:
        """Match the genes of ``cells`` to the vocabulary, by Ensembl id or symbol.

        Raises
        ------
        DataError
            If not one gene is found.
        """
        return self.vocabulary.align(cells.var)

    def coverage(
        self, cells: AnnData, *, layer: str | None = None, assume_counts: bool = False
    ) -> float:
        """The share of all counts that are of genes in the vocabulary, 0 to 1 (higher is better).

        Raises
        ------
        DataError
            If it is below ``min_coverage``; below one half is warned of.
        """
        tokenizer = self._tokenizer(cells)
        inside = total = 0.0
        for block in self._blocks(cells, layer, assume_counts):
            inside += float(tokenizer.counts_inside(block.counts_ng).sum())
            total += float(block.counts_ng.sum(dtype=np.float64))
        share = inside / total if total else 0.0
        words = f"{share:.1%} of the counts are of genes in the vocabulary of {self.name}"
        if share < self.min_coverage:
            names = gene_names(cells.var)
            raise DataError(
                f"only {words}, expected at least {self.min_coverage:.0%}; the data have "
                f"{', '.join(names.gene_id[:3].tolist())} …"
                + (f" and look like {names.organism}" if names.organism else "")
                + f", the vocabulary {', '.join(self.vocabulary.gene_ids[:3].tolist())} …"
            )
        if share < GOOD_COVERAGE:
            log.warning("Only %s; ranks of such cells mean little", words)
        return share

    def gene_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Gene ids and one vector per gene, (genes, width): rows of the token embedding."""
        rows = self.model.tokens.weight.detach().cpu().numpy()[self.vocabulary.token_ids_g]
        return self.vocabulary.gene_ids.tolist(), rows.astype(np.float32)

    def contextual_gene_vectors(
        self,
        cells: AnnData | Path | str,
        *,
        min_cells: int = 1,
        layer: str | None = None,
        assume_counts: bool = False,
        batch_size: int = 128,
        device: str = "cpu",
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Gene ids and one vector per gene: its hidden states, mean over the cells that rank it.

        Parameters
        ----------
        min_cells
            Genes ranked in fewer cells are left out.

        Raises
        ------
        DataError
            As for :meth:`transform`, or if no gene is left.
        """
        cells = read_cells(cells)
        self.coverage(cells, layer=layer, assume_counts=assume_counts)
        model = self.model.to(device)
        size = (model.shape.tokens, model.shape.width)
        sum_vd, cells_v = np.zeros(size), np.zeros(size[0], dtype=np.int64)
        for packed in self._packed(cells, layer, assume_counts):
            more_vd, more_v = token_sums(
                model, packed, hidden_layer=self.layer_of, batch_size=batch_size
            )
            sum_vd += more_vd
            cells_v += more_v
        tokens_g = self.vocabulary.token_ids_g
        kept = cells_v[tokens_g] >= max(1, min_cells)
        if not kept.any():
            raise DataError(
                f"no gene is ranked in {min_cells} cells or more of these {cells.n_obs}"
            )
        rows = tokens_g[kept]
        means = sum_vd[rows] / cells_v[rows][:, None]
        return self.vocabulary.gene_ids[kept].tolist(), means.astype(np.float32)

    def untrained(self, seed: int = 0) -> GeneformerRun:
        """The same architecture with random weights."""
        model = random_rank_encoder(self.model.shape, seed, head=False).eval()
        return replace(self, name=f"untrained {self.name}", model=model)

    def with_(
        self,
        *,
        pooling: str | None = None,
        layer_of: int | None = None,
        min_coverage: float | None = None,
        name: str | None = None,
    ) -> GeneformerRun:
        """The same checkpoint pooled another way, from another layer, or renamed.

        Raises
        ------
        SettingsError
            For an unknown pooling or layer, or ``cls`` where the vocabulary has no ``<cls>``.
        """
        changed = replace(
            self,
            pooling=pooling or self.pooling,
            layer_of=self.layer_of if layer_of is None else layer_of,
            min_coverage=self.min_coverage if min_coverage is None else min_coverage,
            name=name or self.name,
        )
        changed.model.layer_index(changed.layer_of)
        if changed.pooling not in POOLINGS:
            raise SettingsError(
                f"pooling is {changed.pooling!r}, expected one of {', '.join(POOLINGS)}"
            )
        if changed.pooling == "cls" and self.vocabulary.cls_id is None:
            raise SettingsError(
                f"pooling is 'cls', but the vocabulary of {self.name} has no <cls> (special tokens: "
                f"{', '.join(self.vocabulary.special)}); use mean"
            )
        return changed

    def seen(
        self, cells: AnnData, *, layer: str | None = None, assume_counts: bool = False
    ) -> NDArray[np.str_]:
        """``unknown`` for every cell: nobody can tell what a published checkpoint was trained on."""
        return np.full(cells.n_obs, "unknown")

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write a folder that ``transformers`` loads, and ``load_geneformer`` with nothing else.

        Raises
        ------
        RunError
            If ``path`` exists and ``force`` is False.
        """
        ours = {OURS: {"pooling": self.pooling, "layer_of": self.layer_of}}
        extra = {"pad_token_id": self.vocabulary.pad_id, **self.config, **ours}
        with atomic_folder(path, force=force) as temporary:
            write_checkpoint(temporary, self.model, extra)
            self.vocabulary.save(temporary / VOCABULARY)

    export_hf = save

    def _tokenizer(self, cells: AnnData) -> RankedTokenizer:
        limit = self.model.shape.positions
        return RankedTokenizer(self.vocabulary, max_tokens=limit).for_genes(self.align(cells))

    def _blocks(self, cells: AnnData, layer: str | None, assume_counts: bool) -> Iterator[RowBlock]:
        return iter_blocks(cells, layer=layer, assume_counts=assume_counts, block_cells=BLOCK_CELLS)

    def _packed(
        self, cells: AnnData, layer: str | None, assume_counts: bool
    ) -> Iterator[PackedCells]:
        tokenizer = self._tokenizer(cells)
        threads = torch.get_num_threads()
        special = 0 if self.vocabulary.cls_id is None else 2
        empty = 0
        for block in self._blocks(cells, layer, assume_counts):
            packed = PackedCells(*tokenizer.ranks(block.counts_ng, threads=threads))
            empty += int((packed.lengths_n <= special).sum())
            yield packed
        if empty:
            log.warning("%d cells have no gene of the vocabulary of %s", empty, self.name)
