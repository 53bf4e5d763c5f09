"""The one training loop, whatever is learned: Lightning Fabric, exact checkpoints."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cellwright.errors import Interrupted, RunError
from cellwright.training.batches import batches_per_epoch
from cellwright.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from cellwright.training.objective import BringsOptimizer, Objective, Optimisation, WarmsUp
from cellwright.training.one_device import OneDevice
from cellwright.training.run_folder import RunFolder
from cellwright.training.schedule import learning_rate
from cellwright.training.signals import StopRequest, stop_on_signal

if TYPE_CHECKING:  # who trains on one device need not import it
    from lightning_fabric import Fabric

Row = dict[str, float]


@dataclass
class Progress:
    """Where a run stands; everything here is in the checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    cells: int = 0
    seconds: float = 0.0
    total_seconds: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = 0
    worse_epochs: int = 0


@dataclass(frozen=True)
class Fitted:
    """What training leaves: best weights on validation, the last ones, and a row per epoch."""

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    history: list[Row]
    best_epoch: int
    seconds: float
    cells_per_second: float
    stopped_early: bool


def fit(
    model: nn.Module,
    objective: Objective,
    settings: Optimisation,
    fabric: Fabric | OneDevice,
    folder: RunFolder | None,
    *,
    references: Mapping[str, float] = MappingProxyType({}),
    resume: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
) -> Fitted:
    """Train the weights of ``model`` that ask for gradients; the objective's measure chooses the epoch.

    Every process calls it with the same arguments; the first one validates, writes and reports.

    Parameters
    ----------
    fabric
        Lightning Fabric, launched, or ``OneDevice``, which does without it.
    folder
        Where checkpoints and history go; None keeps nothing, for a training that takes seconds.
    references
        Reference values that every row of the history repeats (columns ``ref_*``).
    resume
        Continue from the folder's checkpoint; on one process the weights come out the same, bit
        for bit, as if the run had never stopped.
    on_epoch, on_step
        Called by the first process with the row of an epoch, and with (progress, steps in all).

    Raises
    ------
    Interrupted
        After SIGINT or SIGTERM, with the checkpoint saved.
    RunError
        If the loss stops being a number, or ``resume`` finds no fitting checkpoint.
    """
    size = batches_per_epoch(len(objective), settings.batch_size)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices), stop_on_signal() as stop:
        _seed(settings.seed, fabric, step=0)
        bare = model
        optimizer = _optimizer(model, objective, settings)
        best = _copy(bare)
        progress = Progress()
        history: list[Row] = []
        wrapped, stepper = fabric.setup(model, optimizer)
        if folder is not None and resume and has_checkpoint(folder.checkpoint):
            best, facts = load_checkpoint(folder.checkpoint, bare, optimizer)
            progress, history = Progress(**facts["progress"]), facts["history"]
            if not fabric.is_global_zero:  # the state restored is that of the first process
                _seed(settings.seed, fabric, step=progress.step)
            elif history:  # a kill may have come between the checkpoint and this file
                folder.write_history(history)

        def save() -> None:
            if folder is not None and fabric.is_global_zero:
                facts = {"progress": progress.__dict__, "history": history, "step": progress.step}
                save_checkpoint(folder.checkpoint, bare, best, optimizer, facts)
            fabric.barrier()

        while progress.epoch < settings.epochs and not _patience_is_over(
            progress, objective, settings
        ):
            asked = _train_epoch(
                wrapped, objective, settings, fabric, stepper, progress, size, stop, on_step
            )
            if asked and progress.batch < size:
                save()
                raise Interrupted(_stopped(folder, progress), asked)
            measures: dict[str, float] = {}
            if fabric.is_global_zero:
                measures = objective.measure(bare, fabric.device)
            val_loss, asked = _agreed(fabric, measures.get("val_loss", 0.0), stop)
            progress.epoch += 1
            if measures:
                history.append(
                    {
                        "epoch": progress.epoch,
                        "train_loss": progress.loss_sum / progress.cells,
                        **measures,
                        "learning_rate": optimizer.param_groups[0]["lr"],
                        "cells_per_second": progress.cells / progress.seconds,
                        "seconds": progress.seconds,
                        **references,
                    }
                )
            if val_loss < progress.best_loss:
                progress.best_loss, progress.best_epoch = val_loss, progress.epoch
                progress.worse_epochs = 0
                best = _copy(bare)
            else:
                progress.worse_epochs += 1
            progress.total_seconds += progress.seconds
            progress.batch, progress.cells = 0, 0
            progress.loss_sum, progress.seconds = 0.0, 0.0
            save()
            if fabric.is_global_zero:
                if folder is not None:
                    folder.write_history(history)
                if on_epoch is not None:
                    on_epoch(history[-1])
            if asked and progress.epoch < settings.epochs:
                raise Interrupted(_stopped(folder, progress), asked)
        return Fitted(
            best=best,
            last=_copy(bare),
            history=history,
            best_epoch=progress.best_epoch,
            seconds=progress.total_seconds,
            cells_per_second=len(objective) * progress.epoch / max(progress.total_seconds, 1e-9),
            stopped_early=progress.epoch < settings.epochs,
        )


def assist(
    build: Callable[[], nn.Module],
    objective: Objective,
    settings: Optimisation,
    path: Path,
    resume: bool,
    fabric: Fabric | OneDevice,
) -> None:
    """What a process that is not the first does: the same ``fit``, of which nothing is kept."""
    fit(build(), objective, settings, fabric, RunFolder(path), resume=resume)


def _train_epoch(
    model: Any,
    objective: Objective,
    settings: Optimisation,
    fabric: Fabric | OneDevice,
    optimizer: Any,
    progress: Progress,
    size: int,
    stop: StopRequest,
    on_step: Callable[[Progress, int], None] | None,
) -> int:
    """The rest of the epoch that ``progress`` stands in; the number of the signal that ended it, or 0."""
    world = fabric.world_size
    steps = settings.epochs * size
    model.train()
    started = time.perf_counter()
    for cpu_batch in objective.training_batches(
        batch_size=settings.batch_size,
        epoch=progress.epoch,
        seed=settings.seed,
        first=progress.batch,
        rank=fabric.global_rank,
        world=world,
    ):
        batch = cpu_batch.to(fabric.device)
        rate = learning_rate(
            progress.step,
            steps,
            peak=settings.learning_rate,
            warmup_share=settings.warmup_share,
            kind=settings.schedule,
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = objective.loss(model, batch) * batch.share
        mean, asked = _agreed(fabric, loss.item(), stop)
        optimizer.zero_grad(set_to_none=True)
        # Processes average their gradients; this makes the average the mean over all cells.
        fabric.backward(loss * world)
        clipped: Any = fabric.clip_gradients(
            model, optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False
        )
        for what, value in (("loss", mean), ("gradient", float(clipped))):
            if not math.isfinite(value):
                raise RunError(
                    f"the training {what} became {value} in epoch {progress.epoch + 1}; lower "
                    f"--learning-rate (now {settings.learning_rate:g}) or use --precision float32"
                )
        optimizer.step()
        cells = min(settings.batch_size, len(objective) - progress.batch * settings.batch_size)
        progress.loss_sum += mean * cells
        progress.cells += cells
        progress.batch += 1
        progress.step += 1
        # From batch to batch, so that masking and moving the cells count too.
        now = time.perf_counter()
        progress.seconds += now - started
        started = now
        if on_step is not None and fabric.is_global_zero:
            on_step(progress, steps)
        if asked:
            return asked
    return 0


def _agreed(fabric: Fabric | OneDevice, value: float, stop: StopRequest) -> tuple[float, int]:
    """The sum of ``value`` over the processes, and the signal that came to any of them, or 0.

    All must stop at the same step, or those that go on wait for the others for ever; so what a
    process itself has heard counts only once all have heard it.
    """
    if fabric.world_size == 1:
        return value, stop.signal_number
    kinds = (signal.SIGINT, signal.SIGTERM)
    mine = [value, *(float(stop.signal_number == kind) for kind in kinds)]
    given = torch.tensor(mine, dtype=torch.float64, device=fabric.device)
    reduced: Any = fabric.all_reduce(given, reduce_op="sum")
    summed: list[float] = reduced.tolist()
    return summed[0], next((int(k) for k, n in zip(kinds, summed[1:], strict=True) if n), 0)


def _seed(seed: int, fabric: Fabric | OneDevice, *, step: int) -> None:
    """Dropout of each process is its own."""
    torch.manual_seed(seed * fabric.world_size + fabric.global_rank + (step << 32))


def _decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices; none for biases and norms."""
    learned = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learned if p.ndim > 1]
    others = [p for p in learned if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _optimizer(
    model: nn.Module, objective: Objective, settings: Optimisation
) -> torch.optim.Optimizer:
    if isinstance(objective, BringsOptimizer):
        return objective.optimizer(model)
    return torch.optim.AdamW(
        _decayed(model, settings.weight_decay), lr=settings.learning_rate, betas=(0.9, 0.98)
    )


def _patience_is_over(progress: Progress, objective: Objective, settings: Optimisation) -> bool:
    warmup = objective.warmup_epochs if isinstance(objective, WarmsUp) else 0
    waited = min(progress.worse_epochs, progress.epoch - warmup)
    return settings.patience is not None and waited >= settings.patience


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def _stopped(folder: RunFolder | None, progress: Progress) -> str:
    where = f"stopped by a signal in epoch {progress.epoch + 1}, batch {progress.batch}"
    if folder is None:
        return f"{where}; nothing was kept"
    return (
        f"{where}; the checkpoint is saved, the same command with --resume continues {folder.path}"
    )
