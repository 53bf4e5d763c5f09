"""A linear VAE's run as a representation: cells in, latent means out; genes have loadings."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import resolve, to_dict
from cellwright.data.atomic import atomic_folder
from cellwright.data.blocks import iter_blocks
from cellwright.data.hashes import cell_hashes
from cellwright.data.reading import read_cells
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.models.linear_vae import LinearVAE
from cellwright.tokens.vocabulary import Alignment, Vocabulary
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.linear_vae_fit import new_model
from cellwright.training.linear_vae_objective import latent_means
from cellwright.training.linear_vae_settings import LDVAESettings
from cellwright.training.packed_counts import PackedCounts
from cellwright.training.run_folder import RunFolder

log = logging.getLogger(__name__)

KIND = "counts"
SCHEMA = "cellwright.ldvae/1"
MIN_COVERAGE = 0.8
BLOCK_CELLS = 512
POOLING = "latent"


@dataclass(frozen=True)
class LDVAERun:
    """A finished run of ``cellwright ldvae``: frozen, so that ``fit`` changes nothing.

    name: under which its vectors are stored; cells: what it has seen; model: the best weights on
    validation, in evaluation mode; pooling: ``latent``, a cell's one vector.
    """

    name: str
    path: Path
    settings: LDVAESettings
    vocabulary: Vocabulary
    cells: FittedCells | None
    model: LinearVAE
    min_coverage: float = MIN_COVERAGE
    pooling: str = POOLING

    def fit(self, cells: Any) -> Self:
        """Return the run unchanged: it is trained already."""
        return self

    def transform(
        self,
        cells: AnnData | Path | str,
        *,
        layer: str | None = None,
        assume_counts: bool = False,
        batch_size: int = 512,
        device: str = "cpu",
    ) -> NDArray[np.float32]:
        """The mean of every cell's latent, (n, d) float32; batches are not asked for.

        Raises
        ------
        DataError
            If there are no counts, or the data have fewer than ``min_coverage`` of the genes;
            missing genes above that count as zero.
        """
        cells = read_cells(cells)
        alignment = self.align(cells)
        blocks = iter_blocks(
            cells, layer=layer, assume_counts=assume_counts, block_cells=BLOCK_CELLS
        )
        out = []
        for block in blocks:
            counts = PackedCounts.of([self.vocabulary.take(block.counts_ng, alignment)])
            out.append(latent_means(self.model, counts, device=device, batch_size=batch_size))
        self.model.cpu()
        return np.concatenate(out)

    def align(self, cells: AnnData) -> Alignment:
        """Match the genes of ``cells`` to the run's, by id, symbol or alias.

        Raises
        ------
        DataError
            If fewer than ``min_coverage`` of them are there; the first missing ones are named.
        """
        alignment = self.vocabulary.align(cells.var)
        missing = alignment.missing
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        found = len(self.vocabulary) - len(missing)
        words = f"{found:,} of the {len(self.vocabulary):,} genes of {self.name} ({alignment.coverage:.1%})"
        if alignment.coverage < self.min_coverage:
            raise DataError(
                f"the data have only {words}, expected at least {self.min_coverage:.0%}; missing: "
                f"{shown}. Give data with these genes, or lower --min-coverage knowingly"
            )
        if missing:
            log.warning("The data have %s; taken as zero: %s", words, shown)
        return alignment

    def gene_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Gene ids and their loadings, (genes, axes), as scvi-tools' ``get_loadings`` defines them."""
        return self.vocabulary.gene_ids.tolist(), self.model.loadings().cpu().numpy()

    def loadings(self) -> pd.DataFrame:
        """Loadings, genes × axes ``Z_0`` …, indexed by gene id."""
        ids, loadings_gd = self.gene_vectors()
        axes = [f"Z_{d}" for d in range(loadings_gd.shape[1])]
        return pd.DataFrame(loadings_gd, index=pd.Index(ids, name="gene_id"), columns=axes)

    def untrained(self) -> LDVAERun:
        """The same model with the random weights that training started from."""
        model = new_model(self.settings, self.model.size.genes, self.model.size.batches)
        return replace(self, name=f"untrained {self.name}", model=model.eval())

    def with_(
        self,
        *,
        pooling: str | None = None,
        min_coverage: float | None = None,
        name: str | None = None,
    ) -> LDVAERun:
        """The same run renamed, or with another bound on missing genes.

        Raises
        ------
        SettingsError
            For a pooling: a cell has one latent.
        """
        if pooling not in (None, POOLING):
            raise SettingsError(f"pooling is {pooling!r}, but {self.name} has one vector per cell")
        bound = self.min_coverage if min_coverage is None else min_coverage
        return replace(self, name=name or self.name, min_coverage=bound)

    def seen(
        self, cells: AnnData, *, layer: str | None = None, assume_counts: bool = False
    ) -> NDArray[np.str_]:
        """Per cell ``clean`` or ``seen-unlabelled``: whether training or stopping used its counts.

        ``unknown`` for a model that came from elsewhere.
        """
        if self.cells is None:
            return np.full(cells.n_obs, "unknown")
        alignment = self.vocabulary.align(cells.var)
        blocks = iter_blocks(
            cells, layer=layer, assume_counts=assume_counts, block_cells=BLOCK_CELLS
        )
        hashes = [cell_hashes(self.vocabulary.take(b.counts_ng, alignment)) for b in blocks]
        names = np.asarray(cells.obs_names, dtype=np.str_)
        return self.cells.seen(names, np.concatenate(hashes), same_genes=alignment.coverage == 1.0)

    def save(self, path: Path) -> None:
        """Write what ``load_ldvae`` needs into a new folder."""
        with atomic_folder(path) as temporary:
            folder = RunFolder(temporary)
            folder.write_config(to_dict(self.settings))
            self.vocabulary.save(temporary / "vocabulary.tsv")
            folder.write_tokenizer(KIND, {})
            if self.cells is not None:
                self.cells.save(temporary / "cells.txt.gz")
            folder.write_weights("model.safetensors", self.model.state_dict())
            folder.write_json("metrics.json", {"schema": SCHEMA, "copy_of": self.name})


def is_ldvae_run(path: Path | str) -> bool:
    """Whether the folder's ``config.toml`` is one of ``cellwright ldvae``."""
    try:
        return {"likelihood", "library", "latent"} <= set(RunFolder(path).read_config())
    except (RunError, SettingsError):
        return False


def load_ldvae(path: Path | str, *, name: str | None = None) -> LDVAERun:
    """Load a finished run; nothing but its folder is needed.

    Raises
    ------
    RunError
        If the folder is missing, unfinished, damaged, or mixes files of several runs.
    """
    folder = RunFolder(path)
    settings = ldvae_settings_of(folder)
    folder.need_finished()
    vocabulary = Vocabulary.load(folder.path / "vocabulary.tsv")
    weights = folder.read_weights()
    file = folder.path / "model.safetensors"
    if "log_library_mean_b" not in weights:
        raise RunError(f"{file} is not a linear VAE of cellwright")
    model = new_model(settings, len(vocabulary), len(weights["log_library_mean_b"]))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise RunError(f"{file} does not fit {folder.path / 'config.toml'}: {detail}") from None
    # A model that was trained elsewhere cannot say what it has seen.
    seen = folder.path / "cells.txt.gz"
    cells = FittedCells.load(seen) if seen.is_file() else None
    return LDVAERun(name or folder.name, folder.path, settings, vocabulary, cells, model.eval())


def ldvae_settings_of(folder: RunFolder) -> LDVAESettings:
    """The settings a run was made with.

    Raises
    ------
    RunError
        If its ``config.toml`` is not one of a linear VAE.
    """
    try:
        return resolve(LDVAESettings, folder.read_config())
    except SettingsError as error:
        raise RunError(f"{folder.path} is not a run of a linear VAE: {error}") from None
