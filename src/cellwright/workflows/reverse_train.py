"""A network that names perturbed genes, from a screen to a finished run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from cellwright.config import read_toml, to_dict
from cellwright.data.atomic import atomic_file
from cellwright.data.gene_sets import read_gmt
from cellwright.errors import Interrupted, RunError
from cellwright.training.checkpoint import has_checkpoint
from cellwright.training.epoch_curves import EpochCurves
from cellwright.training.loop import Row
from cellwright.training.reverse_groups import held_out_groups
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.provenance import provenance
from cellwright.workflows.resuming import refuse_other_data, resumed_settings
from cellwright.workflows.reverse_networks import FittedNetwork, fit_network, network_cells
from cellwright.workflows.reverse_run import SCHEMA, ReverseRun, load_reverse, write_run_arrays
from cellwright.workflows.reverse_search import refuse_search, search
from cellwright.workflows.reverse_train_cells import TrainTask, train_task
from cellwright.workflows.reverse_train_judged import judge_test, tell
from cellwright.workflows.reverse_train_result import write_reverse
from cellwright.workflows.reverse_train_settings import (
    ReverseTrainSettings,
    read_stored,
    stored,
    train_settings,
)

log = logging.getLogger(__name__)

ASKED = "asked.toml"
"""The settings that were asked for, where a search then chose others."""
WATCHED = 8


@dataclass(frozen=True)
class ReverseTrainResult:
    """A finished run: its folder, ``metrics.json`` and ``history.csv``."""

    folder: Path
    metrics: dict[str, Any]
    history: pd.DataFrame

    @property
    def run(self) -> ReverseRun:
        """The run, ready to predict."""
        return load_reverse(self.folder)

    def text(self) -> str:
        """The findings as lines for a terminal."""
        said = [*self.metrics["sentences"]]
        said += [f"{check['severity']}: {check['sentence']}" for check in self.metrics["checks"]]
        return "\n".join([*said, "", f"run folder: {self.folder}"])


def reverse_train(
    source: AnnData | Path | str,
    out: Path | str,
    *,
    config: Path | str | None = None,
    search_trials: int = 0,
    gene_sets: Path | str | None = None,
    aliases: Mapping[str, str] | Path | str | None = None,
    candidates: Sequence[str] | Path | str | None = None,
    leave_out: Sequence[str] = (),
    layer: str | None = None,
    assume_counts: bool = False,
    force: bool = False,
    resume: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_trial: Callable[[int, float | None], None] | None = None,
    **flags: Any,
) -> ReverseTrainResult:
    """Train a network that names perturbed genes, judge it on unseen perturbations, keep it.

    The epoch (and with ``search_trials`` the settings) is chosen on validation perturbations, on
    which probabilities are calibrated too; test perturbations are asked about once, at the end.

    Parameters
    ----------
    source
        AnnData (left as it is) or the path of an h5ad of a screen, with raw counts.
    out
        The run folder. ``force`` replaces a run, ``resume`` continues one that was stopped.
    search_trials
        Settings to try with Optuna before the training that is kept.
    gene_sets
        A GMT file: which pathway the wrongly named genes are of.
    aliases, candidates, leave_out
        As in :func:`~cellwright.workflows.reverse_benchmark.reverse_benchmark`.
    config, flags
        Settings (:class:`~cellwright.workflows.reverse_train_settings.ReverseTrainSettings`), as
        ``kind="mlp", split="auto"``: a flag beats the TOML file, the file beats the default.

    Raises
    ------
    DataError, SettingsError, RunError, MissingExtra, Interrupted
        One sentence each.
    """
    folder = RunFolder(out)
    settings = _settings(folder, config, flags, resume)
    folder.refuse(force=force, resume=resume)
    sets = None if gene_sets is None else read_gmt(gene_sets)
    task = train_task(
        source,
        settings,
        aliases=aliases,
        candidates=candidates,
        leave_out=tuple(leave_out),
        layer=layer,
        assume_counts=assume_counts,
    )
    if search_trials:
        refuse_search(task.cells, search_trials)
    if resume:
        refuse_other_data(folder, task.facts)
    if resume and folder.is_finished():
        log.info("%s is finished; nothing to continue", folder.path)
        return read_reverse(folder.path)
    with folder.writing(force=force, resume=resume):
        _write_inputs(folder, task, settings)
        trials = None
        if search_trials:
            settings, trials = _searched(folder, task, settings, search_trials, on_trial)
        network = _trained(folder, task, settings, resume, on_epoch)
        told = tell(task, network, settings)
        found = judge_test(task, network, told, settings, sets)
        write_run_arrays(
            folder,
            task.view.kept_g,
            task.screen.candidates,
            task.cells.seen_c,
            told,
        )
        write_reverse(folder, task, settings, network, told, found, trials)
    return read_reverse(folder.path)


def read_reverse(path: Path | str) -> ReverseTrainResult:
    """The result of a finished run, from its folder.

    Raises
    ------
    RunError
        If the folder is not a finished run of ``reverse train``.
    """
    folder = RunFolder(path)
    metrics = folder.read_json("metrics.json")
    schema = metrics.get("schema") if isinstance(metrics, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"{folder.path} is not a run of cellwright reverse train: its metrics.json has the "
            f"schema {schema!r}, expected {SCHEMA!r}"
        )
    return ReverseTrainResult(folder.path, metrics, folder.read_history())


def _settings(
    folder: RunFolder, config: Path | str | None, flags: Mapping[str, Any], resume: bool
) -> ReverseTrainSettings:
    file = read_toml(Path(config)) if config else None
    if not resume:
        return train_settings(file, flags)
    asked = folder.path / ASKED
    kept = read_stored(read_toml(asked) if asked.is_file() else folder.read_config())
    return resumed_settings(folder, kept, file, flags)


def _write_inputs(folder: RunFolder, task: TrainTask, settings: ReverseTrainSettings) -> None:
    """What is known before training; ``config.toml`` first: it makes the folder that of a run."""
    if not (folder.path / ASKED).is_file():
        folder.write_config(stored(settings))
    task.vocabulary.save(folder.path / "vocabulary.tsv")
    folder.write_json("split.json", task.facts["split"])
    folder.write_json("provenance.json", provenance(settings.seed, task.facts))
    sizes = ", ".join(f"{n} {part}" for part, n in task.facts["conditions"].items())
    began = "continues" if has_checkpoint(folder.checkpoint) else "begins"
    folder.log(f"{began}: {sizes} perturbations, {task.cells.genes} genes. " + " ".join(task.notes))


def _searched(
    folder: RunFolder,
    task: TrainTask,
    settings: ReverseTrainSettings,
    trials: int,
    on_trial: Callable[[int, float | None], None] | None,
) -> tuple[ReverseTrainSettings, pd.DataFrame]:
    """Better settings, which become those of the run; what was asked for is kept beside them."""
    if not (folder.path / ASKED).is_file():
        with atomic_file(folder.path / ASKED) as temporary:
            temporary.write_bytes((folder.path / "config.toml").read_bytes())
    fingerprint = task.facts["fingerprint"] + task.facts["split"]["hash"]
    best, table = search(
        task.cells,
        settings.network,
        task.knowledge,
        trials,
        folder.path / "search",
        fingerprint,
        on_trial=on_trial,
        encoder=task.encoder,
    )
    values = {f.name: getattr(settings, f.name) for f in fields(settings)} | {
        f.name: getattr(best, f.name) for f in fields(best)
    }
    chosen = ReverseTrainSettings(**values)
    folder.write_config(stored(chosen))
    folder.log(f"{len(table)} trials, the best: {to_dict(best)}")
    return chosen, table


def _trained(
    folder: RunFolder,
    task: TrainTask,
    settings: ReverseTrainSettings,
    resume: bool,
    on_epoch: Callable[[Row], None] | None,
) -> FittedNetwork:
    watched = {
        "train": held_out_groups(
            task.cells, task.cells.train_p, k=settings.k, most=1, seed=settings.seed
        )
    }
    if task.sides.test:
        # For the curve of unseen perturbations alone: nothing is chosen by it.
        unseen = network_cells(
            task.expression_ng, task.screen, task.sides.test, kept_g=task.view.kept_g
        )
        watched["unseen"] = held_out_groups(
            unseen, unseen.train_p, k=settings.k, most=WATCHED, seed=settings.seed
        )
    with EpochCurves(folder.path / "tensorboard") as curves:

        def epoch_done(row: Row) -> None:
            curves.add(row)
            folder.log(
                f"epoch {row['epoch']}: training {row['train_loss']:.3f}, validation "
                f"{row['val_loss']:.3f}"
            )
            if on_epoch is not None:
                on_epoch(row)

        try:
            return fit_network(
                task.cells,
                settings.network,
                task.knowledge,
                folder=folder,
                resume=resume,
                on_epoch=epoch_done,
                watched=watched,
                encoder=task.encoder,
            )
        except Interrupted as stopped:
            folder.log(str(stopped))
            raise
