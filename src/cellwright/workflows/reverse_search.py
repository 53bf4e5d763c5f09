"""Search for settings of a network on validation perturbations; test perturbations are not there."""

from __future__ import annotations

import importlib.util
import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cellwright.errors import Interrupted, MissingExtra, RunError, SettingsError
from cellwright.perturbation.gene_knowledge import GeneKnowledge
from cellwright.training.loop import Row
from cellwright.training.reverse_encoder import EncoderStart
from cellwright.training.reverse_groups import ReverseCells
from cellwright.training.reverse_settings import ENCODERS, NetworkSettings
from cellwright.workflows.reverse_networks import fit_network

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

STUDY = "reverse"
STARTS = 5
"""Finished trials before the median prunes and the sampler learns."""
HIDDEN = {"none": (), "128": (128,), "256": (256,), "256-128": (256, 128), "deep": (219, 438, 291, 219)}  # fmt: skip

# Kinds that have a trunk and no layers of attention of their own.
_TRUNKS = ("mlp", *ENCODERS)


def search(
    cells: ReverseCells,
    settings: NetworkSettings,
    knowledge: GeneKnowledge | None,
    trials: int,
    folder: Path,
    fingerprint: str,
    *,
    on_trial: Callable[[int, float | None], None] | None = None,
    encoder: EncoderStart | None = None,
) -> tuple[NetworkSettings, pd.DataFrame]:
    """The settings of the lowest validation loss among ``trials``, the first of which are those given.

    Trials are proposed by Optuna's tree of Parzen estimators, seeded for each trial anew, and
    pruned where they are worse than the median of those before at the same epoch. Every trial is in
    ``folder/journal.log`` once it ends: stopped at any moment, a search goes on with the trials it
    has, and comes to the same end.

    Parameters
    ----------
    fingerprint
        Of the cells and their split; a journal of others is refused.

    Returns
    -------
    The settings, and a table of trials.

    Raises
    ------
    MissingExtra
        If Optuna is not installed.
    SettingsError
        If there are no validation conditions.
    RunError
        If the journal is that of other cells or settings.
    """
    refuse_search(cells, trials)
    study = _study(folder, {"cells": fingerprint, "asked": repr(settings)})
    import optuna

    while (done := _finished(study)) < trials:
        study.sampler = _sampler(settings.seed + done, done)
        if done == 0:
            study.enqueue_trial(_given(settings), skip_if_exists=True)
        trial = study.ask()
        chosen = _proposed(trial, settings)
        best = math.inf

        def epoch(row: Row, trial: Any = trial) -> None:
            nonlocal best
            best = min(best, row["val_loss"])
            trial.report(best, int(row["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            fit_network(cells, chosen, knowledge, on_epoch=epoch, encoder=encoder)
            study.tell(trial, best)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except RunError as error:  # a rate so high that the loss is no number
            log.info("trial %d: %s", done + 1, error)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        except Interrupted as stopped:
            signal = stopped.exit_status - 128
            raise Interrupted(
                f"the search was stopped in trial {done + 1} of {trials}; the same command with "
                f"--resume continues it (trials are kept in {folder})",
                signal,
            ) from None
        if on_trial is not None:
            on_trial(done + 1, None if math.isinf(best) else best)
    if not any(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials):
        raise RunError(f"none of {trials} trials reached its end; use a lower --learning-rate")
    return _proposed(study.best_trial, settings), _table(study)


def refuse_search(cells: ReverseCells, trials: int) -> None:
    """Raise if no search can be made; nothing is written.

    Raises
    ------
    MissingExtra
        If Optuna is not installed.
    SettingsError
        If there are no validation conditions.
    """
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtra("optuna", "search", "--search")
    if not len(cells.val_p):
        raise SettingsError(
            f"--search {trials} needs validation perturbations to choose by, and this split has "
            "none; use --split ahlmann-eltze-2025 or mambaperturb-2025"
        )


def _study(folder: Path, about: dict[str, str]) -> optuna.Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        study = optuna.create_study(
            storage=storage,
            study_name=STUDY,
            direction="minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTS, n_warmup_steps=3),
        )
    for name, value in about.items():
        kept = study.user_attrs.get(name, value)
        if kept != value:
            raise RunError(
                f"{folder / 'journal.log'} is a search with other {name} ({str(kept)[:60]}) than "
                f"here ({value[:60]}); continue it with the same, or pass --force to begin anew"
            )
        study.set_user_attr(name, value)
    # A trial that was killed can never end.
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
        study.set_user_attr("killed", study.user_attrs.get("killed", 0) + 1)
    return study


def _finished(study: optuna.Study) -> int:
    """Trials that came to an end of their own, so that a killed one is tried again."""
    ended = sum(t.state.is_finished() for t in study.get_trials(deepcopy=False))
    return ended - int(study.user_attrs.get("killed", 0))


def _sampler(seed: int, done: int) -> optuna.samplers.BaseSampler:
    import optuna

    if done < STARTS:
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTS)


def _proposed(trial: Any, settings: NetworkSettings) -> NetworkSettings:
    """The settings of a trial; suggestions of a finished one are what it had."""
    if settings.kind in _TRUNKS:
        hidden = HIDDEN | {"given": settings.hidden}
        layers: dict[str, Any] = {
            "hidden": hidden[trial.suggest_categorical("hidden", list(hidden))]
        }
    else:
        layers = {"layers": trial.suggest_categorical("layers", sorted({1, 2, 3, settings.layers}))}
    widths = sorted({32, 64, 128, settings.width})
    return replace(
        settings,
        **layers,
        width=trial.suggest_categorical("width", [w for w in widths if w % settings.heads == 0]),
        inputs=trial.suggest_categorical("inputs", ["shift", "expression", "both"]),
        dropout=trial.suggest_float("dropout", 0.0, max(0.6, settings.dropout)),
        learning_rate=trial.suggest_float(
            "learning_rate", *_around(settings.learning_rate, 1e-4, 1e-2), log=True
        ),
        weight_decay=trial.suggest_float(
            "weight_decay", *_around(max(settings.weight_decay, 1e-6), 1e-4, 1.0), log=True
        ),
        sums=trial.suggest_categorical("sums", sorted({0.0, 0.25, 0.5, 0.75, settings.sums})),
        batch_size=trial.suggest_categorical(
            "batch_size", sorted({32, 64, 128, settings.batch_size})
        ),
    )


def _given(settings: NetworkSettings) -> dict[str, Any]:
    """The settings that were asked for, as a trial."""
    shape = {"hidden": "given"} if settings.kind in _TRUNKS else {"layers": settings.layers}
    names = ("width", "inputs", "dropout", "learning_rate", "sums", "batch_size")
    decay = max(settings.weight_decay, 1e-6)
    return {**shape, **{n: getattr(settings, n) for n in names}, "weight_decay": decay}


def _around(value: float, low: float, high: float) -> tuple[float, float]:
    return min(value, low), max(value, high)


def _table(study: optuna.Study) -> pd.DataFrame:
    rows = []
    for trial in study.trials:
        reported = list(trial.intermediate_values.values())
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "val_loss": trial.value if trial.value is not None else min(reported, default=None),
                "epochs": len(reported),
                **trial.params,
            }
        )
    return pd.DataFrame(rows)
