"""A run pretrained on ranks as a representation: it knows which cells it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_folder
from cellwright.errors import RunError
from cellwright.models.build import rank_shape
from cellwright.models.rank_encoder import RankEncoder, random_rank_encoder
from cellwright.representations.encoder import settings_of
from cellwright.representations.geneformer import LAYER, GeneformerRun
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer
from cellwright.training.fitted_cells import FittedCells, rank_hashes
from cellwright.training.run_folder import FINISHED, RunFolder
from cellwright.training.settings import PretrainSettings

_KIND = "ranked"


@dataclass(frozen=True)
class RankRun(GeneformerRun):
    """A finished run of ``cellwright pretrain`` on ranks: frozen, so that ``fit`` changes nothing.

    settings: of the run; tokenizer: its own; cells: what it has seen, by hashes of their tokens;
    present_g: genes of the vocabulary that the data it was trained on had.
    """

    settings: PretrainSettings = field(kw_only=True)
    tokenizer: RankedTokenizer = field(kw_only=True)
    cells: FittedCells = field(kw_only=True)
    present_g: NDArray[np.bool_] = field(kw_only=True)

    def untrained(self, seed: int | None = None) -> GeneformerRun:
        """The same architecture with random weights, by default those of the run's seed."""
        seed = self.settings.seed if seed is None else seed
        model = random_rank_encoder(self.model.shape, seed, head=False).eval()
        return replace(self, name=f"untrained {self.name}", model=model)

    def seen(
        self, cells: AnnData, *, layer: str | None = None, assume_counts: bool = False
    ) -> NDArray[np.str_]:
        """Per cell ``clean`` or ``seen-unlabelled``: whether training or stopping used its tokens.

        Where the data have other genes of the vocabulary than those trained on, so that tokens of
        one cell differ, a cell counts as seen by its name too.
        """
        tokenizer = self._tokenizer(cells)
        hashes = [
            rank_hashes(*tokenizer.ranks(block.counts_ng))
            for block in self._blocks(cells, layer, assume_counts)
        ]
        present_g = np.isin(np.arange(len(self.vocabulary)), tokenizer.genes_m_)
        names = np.asarray(cells.obs_names, dtype=np.str_)
        same = bool((present_g == self.present_g).all())
        return self.cells.seen(names, np.concatenate(hashes), same_genes=same)

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write what ``load`` needs into a new folder; ``export_hf`` writes one for transformers.

        Raises
        ------
        RunError
            If ``path`` exists and ``force`` is False.
        """
        folder = RunFolder(self.path)
        with atomic_folder(path, force=force) as temporary:
            for name in (*FINISHED, "cells.txt.gz", "split.toml"):
                source = folder.path / name
                if source.is_file():
                    (temporary / name).write_bytes(source.read_bytes())

    def _tokenizer(self, cells: AnnData) -> RankedTokenizer:
        return self.tokenizer.for_genes(self.align(cells))


def is_rank_run(path: Path | str) -> bool:
    """Whether a folder holds a run on ranks, finished or not.

    Raises
    ------
    RunError
        If it is no folder of a pretraining run.
    """
    return settings_of(RunFolder(path)).ranks


def load_rank_run(path: Path | str, *, name: str | None = None) -> RankRun:
    """Load a finished run on ranks; nothing but its folder is needed.

    It pools the mean over genes, or ``<cls>`` if its settings say so, of the last layer but one; of
    the last where there is only one.

    Raises
    ------
    RunError
        If the folder is missing, not a run of this kind, unfinished or damaged; the file at fault
        is named.
    """
    folder = RunFolder(path)
    settings = settings_of(folder)
    folder.need_finished()
    kind, state = folder.read_tokenizer()
    if kind != _KIND:
        raise RunError(
            f"{folder.path / 'tokenizer.npz'} holds a tokenizer of kind {kind!r}, expected "
            f"{_KIND!r}"
        )
    tokenizer = RankedTokenizer.from_state(state)
    vocabulary = tokenizer.vocabulary_
    listed = RankVocabulary.from_tsv(folder.path / "vocabulary.tsv")
    if listed.gene_ids.tolist() != vocabulary.gene_ids.tolist():
        raise RunError(
            f"the run {folder.path} mixes files of different runs: vocabulary.tsv has "
            f"{len(listed):,} genes, tokenizer.npz {len(vocabulary):,} or others"
        )
    shape = rank_shape(settings.encoder, vocabulary.n_tokens, tokenizer.limit)
    model = RankEncoder(shape)
    _restore(model, folder)
    present_g = state.get("present_g", np.ones(len(vocabulary), dtype=np.bool_))
    return RankRun(
        name=name or folder.name,
        path=folder.path,
        model=model.eval(),
        config={},
        vocabulary=vocabulary,
        pooling=settings.pooling,
        layer_of=LAYER if shape.layers > 1 else -1,
        settings=settings,
        tokenizer=tokenizer,
        cells=FittedCells.load(folder.path / "cells.txt.gz"),
        present_g=np.asarray(present_g, dtype=np.bool_),
    )


def _restore(model: Any, folder: RunFolder) -> None:
    try:
        model.load_state_dict(folder.read_weights())
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise RunError(
            f"{folder.path / 'model.safetensors'} does not fit {folder.path / 'config.toml'}: "
            f"{detail}"
        ) from None
