"""Pretraining from a file to a finished run folder: split, tokens, references, training, verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from cellwright.config import nearest, read_toml, resolve, to_dict
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import Interrupted, RunError, SettingsError
from cellwright.report.notebook import run_html
from cellwright.representations.encoder import settings_of
from cellwright.training.checkpoint import has_checkpoint
from cellwright.training.epoch_curves import EpochCurves
from cellwright.training.hardware import check_accelerator
from cellwright.training.loop import Progress, Row, assist, fit
from cellwright.training.processes import is_first_process, processes, with_started_processes
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PRESETS, PretrainSettings
from cellwright.workflows.pretrain_bins import BinsTask
from cellwright.workflows.pretrain_cells import tokenized
from cellwright.workflows.pretrain_rank_cells import ranks_of_cells
from cellwright.workflows.pretrain_rank_corpus import ranks_of_corpus
from cellwright.workflows.pretrain_result import SCHEMA, judged, write_result
from cellwright.workflows.pretrain_task import PretrainTask
from cellwright.workflows.provenance import provenance
from cellwright.workflows.resuming import refuse_other_data, resumed_settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretrained:
    """A finished run: its folder, ``metrics.json`` and ``history.csv``; ``sentences`` say it in words."""

    folder: Path
    metrics: dict[str, Any]
    history: pd.DataFrame
    first_process: bool = True

    def text(self) -> str:
        """The findings and the references as lines for a terminal."""
        lines = [*self.sentences, "", f"perplexity on {self.metrics['scored_on']} cells:"]
        for name, value in self.metrics["perplexity"].items():
            mark = "  <- best without a network" if name == self.metrics["best_reference"] else ""
            lines.append(f"  {name:17s} {value:9.3f}{mark}")
        rule = self.metrics["rule"]
        tokens = rule.get("bins") or rule["tokens"]
        lines.append(f"rules: {tokens}; {rule['mask']}; {rule['genes']} genes")
        lines += ["", *_examples(self.folder), "", f"run folder: {self.folder}"]
        return "\n".join(lines)

    @property
    def sentences(self) -> list[str]:
        return list(self.metrics["sentences"])

    def _repr_html_(self) -> str:
        return run_html(self.metrics, self.history)


def pretrain(
    cells: AnnData | Path | str,
    out: Path | str,
    *,
    preset: str | None = None,
    config: Path | str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    force: bool = False,
    resume: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
    **flags: Any,
) -> Pretrained:
    """Pretrain an encoder on cells by predicting masked bins or ranks, and judge it against no network.

    Parameters
    ----------
    cells
        AnnData or a path with raw counts, or with ranks the folder that ``cellwright tokenize`` or
        Hugging Face ``datasets`` wrote, which stays on disk. Without ``obs["split"]`` the cells are split here
        (``split_by``, ``stratify``, ``val``, ``test``); bins and references are fitted on
        training cells only, ``val`` chooses the best epoch, ``test`` is scored once at the end.
    out
        The run folder. ``force`` replaces a run, ``resume`` continues one that was stopped.
    preset, config, flags
        Settings (``training.settings.PretrainSettings``): a flag beats the TOML file, the file
        beats the preset, the preset beats the default.

    Raises
    ------
    DataError, SettingsError, RunError, Interrupted
        One sentence each: no counts, a setting that cannot work, a folder that holds something,
        a signal (the checkpoint is saved).
    """
    folder = RunFolder(out)
    settings = with_started_processes(_settings(folder, preset, config, flags, resume))
    check_accelerator(settings.accelerator, settings.devices)
    first = is_first_process()
    if first:
        folder.refuse(force=force, resume=resume)
    task = _task(cells, settings, layer, assume_counts)
    if resume:
        refuse_other_data(folder, task.facts)
    if resume and folder.is_finished():
        log.info("%s is finished; nothing to continue", folder.path)
    elif first:
        with folder.writing(force=force, resume=resume):
            _write_inputs(folder, task, settings)
            _train(folder, task, settings, resume, on_epoch, on_step)
    else:
        _train(folder, task, settings, resume)
    return read_finished(folder.path, first_process=first)


def _task(
    cells: AnnData | Path | str, settings: PretrainSettings, layer: str | None, assume_counts: bool
) -> PretrainTask:
    """The cells in the tokens that the settings name."""
    if not isinstance(cells, AnnData) and Path(cells).is_dir():
        if not settings.ranks:
            raise SettingsError(
                f"{cells} is a folder, so it holds rank tokens if anything, but tokenizer is "
                f"{settings.tokenizer!r}; add --tokenizer ranked, or give the .h5ad"
            )
        return ranks_of_corpus(Path(cells), settings)
    subject = read_cells(cells)
    if settings.ranks:
        return ranks_of_cells(subject, settings, layer=layer, assume_counts=assume_counts)
    counts = counts_of(subject, layer=layer, assume_counts=assume_counts)
    return BinsTask(tokenized(subject, counts, settings), settings)


def _examples(path: Path, most: int = 8) -> list[str]:
    """The first masked genes of the example cell: true bin, then the three likeliest."""
    found = RunFolder(path).read_json("examples.json")
    rows = found["rows"][:most]
    ranks = bool(rows) and "true_gene" in rows[0]
    what = "shown | true gene" if ranks else "true bin"
    lines = [f"masked genes of one {found['part']} cell, {found['cell']}: {what} | top 3"]
    for row in rows:
        top = ", ".join(f"{k} ({p:.0%})" for k, p in row["top"])
        told = (
            f"rank {row['rank']:5d} {row['shown']:12s} | {row['true_gene']:12s}"
            if ranks
            else f"{row['gene_symbol']:15s} {row['true_bin']:3d}"
        )
        lines.append(f"  {told} | {top}")
    return lines


def read_finished(path: Path | str, *, first_process: bool = True) -> Pretrained:
    """The result of a finished run, from its folder.

    Raises
    ------
    RunError
        If the folder is not a finished pretraining run.
    """
    folder = RunFolder(path)
    metrics = folder.read_json("metrics.json")
    schema = metrics.get("schema") if isinstance(metrics, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"{folder.path} is not a pretraining run: its metrics.json has the schema {schema!r}, "
            f"expected {SCHEMA!r}"
        )
    return Pretrained(folder.path, metrics, folder.read_history(), first_process)


def _settings(
    folder: RunFolder,
    preset: str | None,
    config: Path | str | None,
    flags: Mapping[str, Any],
    resume: bool,
) -> PretrainSettings:
    if preset is not None and preset not in PRESETS:
        close = nearest(preset, PRESETS)
        hint = f"did you mean {close!r}?" if close else f"known: {', '.join(PRESETS)}"
        raise SettingsError(f"no preset {preset!r}: {hint}")
    layers = [PRESETS[preset] if preset else None, read_toml(Path(config)) if config else None]
    if not resume:
        return resolve(PretrainSettings, *layers, flags)
    return resumed_settings(folder, settings_of(folder), *layers, flags)


def _write_inputs(folder: RunFolder, task: PretrainTask, settings: PretrainSettings) -> None:
    """What is known before training; ``config.toml`` first: it makes the folder that of a run."""
    folder.write_config(to_dict(settings))
    task.vocabulary.save(folder.path / "vocabulary.tsv")
    folder.write_tokenizer(settings.tokenizer, task.tokenizer_state())
    task.chosen.save(folder.path / "split.toml")
    task.fitted.save(folder.path / "cells.txt.gz")
    folder.write_json("provenance.json", provenance(settings.seed, task.facts))
    sizes = ", ".join(f"{count} {part}" for part, count in task.facts["cells"].items())
    began = "continues" if has_checkpoint(folder.checkpoint) else "begins"
    folder.log(f"{began}: {sizes} cells, {len(task.vocabulary)} genes. {task.chosen.note}")


def _train(
    folder: RunFolder,
    task: PretrainTask,
    settings: PretrainSettings,
    resume: bool,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
) -> None:
    """Train on all processes; the first one then judges the model and writes what came out."""
    build, objective = task.builder(), task.objective
    helper = partial(assist, build, objective, settings, folder.path, resume)
    model = build()
    with processes(settings, helper) as fabric:
        if not fabric.is_global_zero:
            fit(model, objective, settings, fabric, folder, resume=resume)
            return
        with EpochCurves(folder.path / "tensorboard") as curves:

            def epoch_done(row: Row) -> None:
                curves.add(row)
                folder.log(
                    f"epoch {row['epoch']} of {settings.epochs}: training {row['train_loss']:.4f}, "
                    f"validation {row['val_loss']:.4f}, perplexity {row['perplexity']:.3f}"
                )
                if on_epoch is not None:
                    on_epoch(row)

            try:
                fitted = fit(
                    model,
                    objective,
                    settings,
                    fabric,
                    folder,
                    references=task.reference_columns(),
                    resume=resume,
                    on_epoch=epoch_done,
                    on_step=on_step,
                )
            except Interrupted as stopped:
                folder.log(str(stopped))
                raise
        model = model.cpu()
        model.load_state_dict(fitted.best)
        result = judged(task, model, settings, fitted)
        write_result(folder, task, model, settings, fitted, result)
        folder.log(" ".join(result["sentences"]))
