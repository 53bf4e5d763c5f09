"""One process or several that train together: those of torchrun or srun, or helpers started here.

Lightning Fabric's own launcher runs the user's script again in every process, and so everything
that stands before and after the training, twice. Here the calling process stays the first one, and
the helpers run nothing but the training, on what they are handed.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import ClusterEnvironment, MixedPrecision, Precision
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from cellwright.errors import CellwrightError, RunError, SettingsError
from cellwright.training.hardware import accelerator_in_use, fabric_precision
from cellwright.training.settings import PretrainSettings

Work = Callable[[Fabric], object]
"""What a helper does; it must survive pickling, as everything handed to a new process."""


class Together(ClusterEnvironment):
    """The processes of one machine that found each other by a port."""

    def __init__(self, rank: int, world: int, port: int) -> None:
        self._rank, self._world, self._port = rank, world, port

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self._port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._world

    def set_world_size(self, size: int) -> None:
        """Ignored: the number of processes is fixed."""

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        """Ignored: the rank is fixed."""

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun or srun started."""
    outside = _outside()
    return outside is None or outside.global_rank() == 0


def with_started_processes(settings: PretrainSettings) -> PretrainSettings:
    """The settings with ``devices`` and ``num_nodes`` as torchrun or srun started processes.

    Raises
    ------
    SettingsError
        If other numbers were asked for, or several machines without torchrun or srun.
    """
    outside = _outside()
    asked = (settings.devices, settings.num_nodes)
    if outside is None:
        if settings.num_nodes > 1:
            raise SettingsError(
                f"num_nodes is {settings.num_nodes}, but nothing started this program on the other "
                "machines; start it with torchrun --nnodes or srun"
            )
        return settings
    world = outside.world_size()
    here = int(
        os.environ.get("LOCAL_WORLD_SIZE")
        or world // int(os.environ.get("SLURM_NNODES") or settings.num_nodes)
    )
    started = (here, world // here)
    if asked not in ((1, 1), started):
        raise SettingsError(
            f"devices is {asked[0]} and num_nodes is {asked[1]}, but {world} processes were started "
            f"({started[0]} per machine on {started[1]}); leave both out, or start as many"
        )
    return replace(settings, devices=started[0], num_nodes=started[1])


@contextlib.contextmanager
def processes(settings: PretrainSettings, work: Work) -> Iterator[Fabric]:
    """This process's Fabric, launched, with the other processes doing ``work`` beside it.

    Under torchrun or srun the others run this very program, and ``work`` is not used.

    Raises
    ------
    RunError
        If a helper ends before the training does.
    """
    world = settings.devices * settings.num_nodes
    outside = _outside()
    with calm():
        if world == 1:
            fabric = _fabric(settings, None)
            fabric.launch()
            yield fabric
        elif outside is not None:
            fabric = _fabric(settings, outside)
            fabric.launch()
            yield fabric
            fabric.barrier()  # for what the first one does after training
        else:
            with _helped(settings, work) as fabric:
                yield fabric


@contextlib.contextmanager
def _helped(settings: PretrainSettings, work: Work) -> Iterator[Fabric]:
    world, port = settings.devices, find_free_network_port()
    spawn = multiprocessing.get_context("spawn")
    helpers: list[SpawnProcess] = []
    before = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT")}
    done = False
    try:
        with _threads(world):
            ready = []
            for rank in range(1, world):
                ours, theirs = spawn.Pipe(duplex=False)
                given = (work, settings, rank, port, theirs)
                helper = spawn.Process(target=_help, args=given, daemon=True)
                helper.start()
                theirs.close()
                helpers.append(helper)
                ready.append(ours)
            _await(helpers, ready)
            fabric = _fabric(settings, Together(0, world, port))
            fabric.launch()
            yield fabric
        done = True
    except RuntimeError as error:
        # What the collectives raise when the other side is gone.
        for number, helper in enumerate(helpers, start=1):
            helper.join(10.0)
            if helper.exitcode:
                raise RunError(
                    f"process {number} of {world} ended with status {helper.exitcode} during "
                    "training; the last checkpoint is kept, --resume continues from it"
                ) from error
        raise
    finally:
        for helper in helpers:
            if not done:
                helper.kill()
            helper.join()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _await(helpers: list[SpawnProcess], ready: list[Connection]) -> None:
    """Wait until every helper has reached its work; one that ends before that never will."""
    for number, (helper, pipe) in enumerate(zip(helpers, ready, strict=True), start=1):
        try:
            pipe.recv()
        except EOFError:  # its end of the pipe went with it
            helper.join()
            raise RunError(
                f"process {number} of {len(helpers) + 1} ended with status {helper.exitcode} before "
                "training began; a script that trains on several devices must call it under "
                "if __name__ == '__main__':"
            ) from None
        finally:
            pipe.close()


def _help(work: Work, settings: PretrainSettings, rank: int, port: int, ready: Connection) -> None:
    """The life of a helper."""
    # Ctrl-C reaches every process of a terminal; the first one hears it and tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with calm(), _threads(settings.devices):
            fabric = _fabric(settings, Together(rank, settings.devices, port))
            ready.send(True)
            ready.close()
            fabric.launch()
            work(fabric)
    except CellwrightError:
        pass  # the first process says it
    except RuntimeError:
        parent = multiprocessing.parent_process()
        if parent is not None and parent.is_alive():
            raise
        # Killed, the first process can neither be told nor be waited for.


def _outside() -> ClusterEnvironment | None:
    """What started several processes of this program, None if nothing did."""
    for kind in (TorchElasticEnvironment, SLURMEnvironment):
        if kind.detect():
            found: ClusterEnvironment = kind()
            return found if found.world_size() > 1 else None
    return None


def _fabric(settings: PretrainSettings, environment: ClusterEnvironment | None) -> Fabric:
    on = accelerator_in_use(settings.accelerator)
    kind = fabric_precision(settings.precision, on)
    mixed = kind == "bf16-mixed"
    precision: Precision = MixedPrecision("bf16-mixed", on) if mixed else Precision()
    return Fabric(
        accelerator=on,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy="auto" if environment is None else "ddp",
        plugins=[precision] if environment is None else [precision, environment],
    )


@contextlib.contextmanager
def _threads(processes: int) -> Iterator[None]:
    """Divide the cores that PyTorch uses among the processes of this machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """Keep Fabric's notes to itself: the command line says what matters."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
