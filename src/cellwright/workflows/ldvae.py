"""A linear VAE from a file to a finished run folder: fit, curves, loadings, map, enrichment."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from cellwright.config import read_toml, resolve, to_dict
from cellwright.data.disk.aside import AsideFile
from cellwright.data.gene_sets import read_gmt
from cellwright.data.reading import read_cells
from cellwright.errors import Interrupted, RunError, SettingsError
from cellwright.representations.ldvae import KIND, SCHEMA, LDVAERun, ldvae_settings_of, load_ldvae
from cellwright.training.checkpoint import has_checkpoint
from cellwright.training.epoch_curves import EpochCurves
from cellwright.training.hardware import check_accelerator
from cellwright.training.linear_vae_fit import fit_ldvae, prepared, trained
from cellwright.training.linear_vae_settings import LDVAESettings
from cellwright.training.loop import Progress, Row
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.ldvae_cells import LDVAECells, ldvae_cells, lie_on_disk
from cellwright.workflows.ldvae_enrichment import check_decoupler, sets_within
from cellwright.workflows.provenance import provenance
from cellwright.workflows.resuming import refuse_other_data, resumed_settings

__all__ = ["LDVAEResult", "fit_ldvae", "ldvae", "read_ldvae"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LDVAEResult:
    """A finished run: its folder, ``metrics.json`` and ``history.csv``."""

    folder: Path
    metrics: dict[str, Any]
    history: pd.DataFrame

    @property
    def run(self) -> LDVAERun:
        """The run as a representation."""
        return load_ldvae(self.folder)

    def loadings(self) -> pd.DataFrame:
        """Genes × axes."""
        return self.run.loadings()

    def text(self) -> str:
        """The findings as lines for a terminal."""
        lines = [*self.metrics["sentences"], ""]
        lines += [f"  {axis}: {genes}" for axis, genes in self.metrics["top_genes"].items()]
        return "\n".join([*lines, "", f"run folder: {self.folder}"])


def ldvae(
    cells: AnnData | Path | str,
    out: Path | str,
    *,
    config: Path | str | None = None,
    gene_sets: Path | str | None = None,
    label: str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    force: bool = False,
    resume: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
    **flags: Any,
) -> LDVAEResult:
    """Fit a linearly decoded variational autoencoder; its axes are read off as gene loadings.

    Parameters
    ----------
    cells
        AnnData or a path with raw counts; a file is read in blocks. Without ``obs["split"]`` the
        cells are split here; ``val`` cells choose the epoch, ``test`` cells are not looked at.
    out
        The run folder. ``force`` replaces a run, ``resume`` continues one that was stopped.
    gene_sets
        A GMT file; the loadings of every axis are then tested for its sets (extra
        ``enrichment``).
    label
        Column of ``obs`` that colours the map; default the state, or a column of cell types.
    config, flags
        Settings (``training.linear_vae_settings.LDVAESettings``), as ``latent=36, fit_on="train"``:
        a flag beats the TOML file, the file beats the default.

    Raises
    ------
    DataError, SettingsError, RunError, Interrupted
        One sentence each.
    """
    folder = RunFolder(out)
    settings = _settings(folder, config, flags, resume)
    check_accelerator(settings.accelerator)
    folder.refuse(force=force, resume=resume)
    sets = None if gene_sets is None else read_gmt(gene_sets)
    if sets is not None:
        check_decoupler()
    from_file = not isinstance(cells, AnnData)
    subject = read_cells(cells, backed=from_file)
    with contextlib.ExitStack() as stack:
        if from_file:
            stack.callback(_close, subject)
        if label is not None and label not in subject.obs.columns:
            raise SettingsError(
                f"obs has no column {label!r} to colour the map by (columns: "
                f"{', '.join(map(str, subject.obs.columns[:8]))})"
            )
        aside = None
        if lie_on_disk(subject, settings, layer):
            aside = stack.enter_context(AsideFile(_existing(folder.path)))
            log.info("The counts are kept on disk, in a file without a name.")
        task = ldvae_cells(subject, settings, layer=layer, assume_counts=assume_counts, aside=aside)
        if sets is not None:  # refused before the training, not behind it
            sets_within(sets, task.vocabulary.symbols.tolist())
        if resume:
            refuse_other_data(folder, task.facts)
        if resume and folder.is_finished():
            log.info("%s is finished; nothing to continue", folder.path)
            return read_ldvae(folder.path)
        model, objective = prepared(
            task.train, task.val, task.train_codes_n, task.val_codes_n, settings, task.batches
        )
        with folder.writing(force=force, resume=resume):
            _write_inputs(folder, task, settings)
            with EpochCurves(folder.path / "tensorboard") as curves:

                def epoch_done(row: Row) -> None:
                    curves.add(row)
                    folder.log(
                        f"epoch {row['epoch']}: training {row['train_elbo_loss']:.2f}, validation "
                        f"{row['val_loss']:.2f} (negative ELBO)"
                    )
                    if on_epoch is not None:
                        on_epoch(row)

                try:
                    found = trained(
                        model,
                        objective,
                        folder,
                        resume=resume,
                        on_epoch=epoch_done,
                        on_step=on_step,
                    )
                except Interrupted as stopped:
                    folder.log(str(stopped))
                    raise
            # What draws takes 100 MB of libraries, which training has better use for.
            from cellwright.workflows.ldvae_result import write_ldvae

            read: dict[str, Any] = {"layer": layer, "assume_counts": assume_counts}
            write_ldvae(folder, task, objective, found, subject, sets, label, read)
    return read_ldvae(folder.path)


def read_ldvae(path: Path | str) -> LDVAEResult:
    """The result of a finished run, from its folder.

    Raises
    ------
    RunError
        If the folder is not a finished run of a linear VAE.
    """
    folder = RunFolder(path)
    metrics = folder.read_json("metrics.json")
    schema = metrics.get("schema") if isinstance(metrics, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"{folder.path} is not a run of a linear VAE: its metrics.json has the schema "
            f"{schema!r}, expected {SCHEMA!r}"
        )
    return LDVAEResult(folder.path, metrics, folder.read_history())


def _settings(
    folder: RunFolder, config: Path | str | None, flags: Mapping[str, Any], resume: bool
) -> LDVAESettings:
    file = read_toml(Path(config)) if config else None
    if not resume:
        return resolve(LDVAESettings, file, flags)
    kept, from_disk = ldvae_settings_of(folder), flags.get("from_disk")
    if from_disk is not None:  # where the counts lie changes no number
        kept = replace(kept, from_disk=from_disk)
    return resumed_settings(folder, kept, file, flags)


def _existing(path: Path) -> Path:
    """The nearest folder above that is there: the disk that the run will lie on."""
    return next(parent for parent in path.resolve().parents if parent.is_dir())


def _close(subject: AnnData) -> None:
    if subject.isbacked:
        subject.file.close()


def _write_inputs(folder: RunFolder, task: LDVAECells, settings: LDVAESettings) -> None:
    """What is known before training; ``config.toml`` first: it makes the folder that of a run."""
    folder.write_config(to_dict(settings))
    task.vocabulary.save(folder.path / "vocabulary.tsv")
    folder.write_tokenizer(KIND, {"batches": np.array(task.batches, dtype=np.str_)})
    task.chosen.save(folder.path / "split.toml")
    task.fitted.save(folder.path / "cells.txt.gz")
    folder.write_json("provenance.json", provenance(settings.seed, task.facts))
    sizes = ", ".join(f"{count} {part}" for part, count in task.facts["cells"].items())
    began = "continues" if has_checkpoint(folder.checkpoint) else "begins"
    folder.log(f"{began}: {sizes} cells, {len(task.vocabulary)} genes. {task.note}")
