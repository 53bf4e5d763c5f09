"""A pretrained run as a representation: cells in, pooled vectors out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import resolve
from cellwright.data.atomic import atomic_folder
from cellwright.data.blocks import iter_blocks
from cellwright.data.genes import gene_names
from cellwright.data.hashes import cell_hashes
from cellwright.data.reading import read_cells
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.models.build import build_encoder
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.cell_binned import CellBinnedTokenizer
from cellwright.tokens.vocabulary import Alignment, Vocabulary
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.run_folder import FINISHED, RunFolder
from cellwright.training.settings import PretrainSettings

log = logging.getLogger(__name__)

MIN_COVERAGE = 0.8
BLOCK_CELLS = 4096
POOLINGS = ("mean", "concat")
KINDS: dict[str, type[BinnedTokenizer] | type[CellBinnedTokenizer]] = {
    "binned": BinnedTokenizer,
    "cell-binned": CellBinnedTokenizer,
}


@dataclass(frozen=True)
class EncoderRun:
    """A finished run: frozen, so that ``fit`` changes nothing.

    name: under which its vectors are stored; settings: of the run; vocabulary: its genes in order;
    tokenizer: fitted on its training cells; cells: what it has seen; model: the best weights on
    validation, in evaluation mode; pooling: how a cell's latents become one vector.
    """

    name: str
    path: Path
    settings: PretrainSettings
    vocabulary: Vocabulary
    tokenizer: BinnedTokenizer | CellBinnedTokenizer
    cells: FittedCells
    model: Any
    pooling: str
    min_coverage: float = MIN_COVERAGE

    def fit(self, cells: Any) -> Self:
        """Return the run unchanged: it is trained already."""
        return self

    def transform(
        self,
        cells: AnnData | Path | str,
        *,
        layer: str | None = None,
        assume_counts: bool = False,
        batch_size: int = 128,
        device: str = "cpu",
    ) -> NDArray[np.float32]:
        """Embed cells, none of their genes masked.

        Parameters
        ----------
        cells
            AnnData (in memory, backed, or a view) or a path; counts are found as
            ``data.reading.counts_of`` does.

        Returns
        -------
        (n, dims) float32, computed in float32. Genes that the data lack are hidden from the
        encoder, not taken for zero.

        Raises
        ------
        DataError
            If there are no counts, or the data have fewer than ``min_coverage`` of the genes.
        """
        cells = read_cells(cells)
        alignment = self.align(cells)
        missing_g = torch.from_numpy(alignment.columns_g < 0).to(device)
        model = self.model.to(device)
        out = []
        with torch.no_grad(), torch.autocast(torch.device(device).type, enabled=False):
            for block in iter_blocks(
                cells, layer=layer, assume_counts=assume_counts, block_cells=BLOCK_CELLS
            ):
                counts = self.vocabulary.take(block.counts_ng, alignment)
                for start in range(0, counts.shape[0], batch_size):
                    bins_ng = self.tokenizer.bins(counts[start : start + batch_size])
                    ids_ng = torch.from_numpy(bins_ng.astype(np.int64)).to(device)
                    hidden_ng = missing_g.expand(len(bins_ng), -1)
                    pooled = model.pool(ids_ng, hidden_ng, self.pooling)
                    out.append(pooled.float().cpu().numpy())
        return np.concatenate(out)

    def align(self, cells: AnnData) -> Alignment:
        """Match the genes of ``cells`` to the run's, by id, symbol or alias.

        Raises
        ------
        DataError
            If fewer than ``min_coverage`` of the run's genes are there; the first missing ones
            are named.
        """
        alignment = self.vocabulary.align(cells.var)
        missing = alignment.missing
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        found = len(self.vocabulary) - len(missing)
        words = f"{found:,} of the {len(self.vocabulary):,} genes of {self.name} ({alignment.coverage:.1%})"
        if alignment.coverage < self.min_coverage:
            organism = gene_names(cells.var).organism
            raise DataError(
                f"the data have only {words}, expected at least {self.min_coverage:.0%}; missing: "
                f"{shown}"
                + (f"; the data look like {organism}" if organism else "")
                + ". Give data with these genes, or lower --min-coverage knowingly"
            )
        if missing:
            log.warning("The data have %s; hidden from the encoder: %s", words, shown)
        return alignment

    def gene_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Gene ids and one vector per gene, (genes, dims): the embedding each gene is read with."""
        vectors = self.model.gene_vectors().detach().cpu().numpy().astype(np.float32)
        return self.vocabulary.gene_ids.tolist(), vectors

    def untrained(self) -> EncoderRun:
        """The same network with the random weights that training started from."""
        frequencies = self.model.log_frequencies_gk.cpu()
        model = build_encoder(self.settings.encoder, frequencies, self.settings.seed).eval()
        return EncoderRun(**{**self.__dict__, "name": f"untrained {self.name}", "model": model})

    def with_(
        self,
        *,
        pooling: str | None = None,
        min_coverage: float | None = None,
        name: str | None = None,
    ) -> EncoderRun:
        """The same run pooled another way, with another bound on missing genes, or renamed.

        Raises
        ------
        SettingsError
            For an unknown pooling.
        """
        if pooling is not None and pooling not in POOLINGS:
            raise SettingsError(f"pooling is {pooling!r}, expected one of {', '.join(POOLINGS)}")
        changed = dict(self.__dict__)
        changed["pooling"] = pooling or self.pooling
        changed["name"] = name or self.name
        changed["min_coverage"] = self.min_coverage if min_coverage is None else min_coverage
        return EncoderRun(**changed)

    def seen(
        self, cells: AnnData, *, layer: str | None = None, assume_counts: bool = False
    ) -> NDArray[np.str_]:
        """Per cell ``clean`` or ``seen-unlabelled``: whether training or stopping used its counts."""
        alignment = self.vocabulary.align(cells.var)
        hashes = [
            cell_hashes(self.vocabulary.take(block.counts_ng, alignment))
            for block in iter_blocks(
                cells, layer=layer, assume_counts=assume_counts, block_cells=BLOCK_CELLS
            )
        ]
        names = np.asarray(cells.obs_names, dtype=np.str_)
        whole = alignment.coverage == 1.0
        return self.cells.seen(names, np.concatenate(hashes), same_genes=whole)

    def save(self, path: Path) -> None:
        """Write what ``load`` needs into a new folder."""
        folder = RunFolder(self.path)
        with atomic_folder(path) as temporary:
            for name in (*FINISHED, "cells.txt.gz", "split.toml"):
                source = folder.path / name
                if source.is_file():
                    (temporary / name).write_bytes(source.read_bytes())


def load(path: Path | str, *, name: str | None = None) -> EncoderRun:
    """Load a finished run; nothing but its folder is needed.

    Raises
    ------
    RunError
        If the folder is missing, not a run of this kind, unfinished or damaged; the file at fault
        is named.
    """
    folder = RunFolder(path)
    settings = settings_of(folder)
    folder.need_finished()
    vocabulary = Vocabulary.load(folder.path / "vocabulary.tsv")
    kind, state = folder.read_tokenizer()
    if kind not in KINDS:
        raise RunError(
            f"{folder.path / 'tokenizer.npz'} holds a tokenizer of kind {kind!r}, expected one of "
            f"{', '.join(KINDS)}"
        )
    tokenizer = KINDS[kind].from_state(state)
    weights = folder.read_weights()
    if "log_frequencies_gk" not in weights:
        raise RunError(f"{folder.path / 'model.safetensors'} is not an encoder of cellwright")
    model = build_encoder(settings.encoder, weights["log_frequencies_gk"], settings.seed)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise RunError(
            f"{folder.path / 'model.safetensors'} does not fit {folder.path / 'config.toml'}: "
            f"{detail}"
        ) from None
    genes = weights["log_frequencies_gk"].shape[0]
    if not len(vocabulary) == genes == tokenizer.n_genes:
        raise RunError(
            f"the run {folder.path} mixes files of different runs: the vocabulary has "
            f"{len(vocabulary)} genes, the tokenizer {tokenizer.n_genes}, the weights {genes}"
        )
    return EncoderRun(
        name=name or folder.name,
        path=folder.path,
        settings=settings,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        cells=FittedCells.load(folder.path / "cells.txt.gz"),
        model=model.eval(),
        pooling=settings.pooling,
    )


def settings_of(folder: RunFolder) -> PretrainSettings:
    """The settings a run was made with.

    Raises
    ------
    RunError
        If its ``config.toml`` is not one of pretraining.
    """
    try:
        return resolve(PretrainSettings, folder.read_config())
    except SettingsError as error:
        raise RunError(f"{folder.path} is not a pretraining run: {error}") from None
