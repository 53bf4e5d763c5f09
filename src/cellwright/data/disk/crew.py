"""Processes that share the reading, of this machine or of a cluster, over Dask."""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cellwright.errors import MissingExtra, RunError, SettingsError

_PATIENCE = 15


class Crew:
    """Workers of one Dask client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def size(self) -> int:
        """Threads the workers have together, at least one."""
        return max(1, sum(self._client.nthreads().values()))

    def map(self, work: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """``work(*task)`` of every task, in order; a few at a time are under way.

        A task may run twice if a worker is lost, so it must give the same both times.

        Raises
        ------
        RunError
            If workers are lost again and again, or the scheduler is.
        CellwrightError
            What ``work`` raises.
        """
        waiting = iter(tasks)
        begun = deque(
            self._client.submit(work, *task, pure=False)
            for task in itertools.islice(waiting, 2 * self.size)
        )
        try:
            while begun:
                yield self._result(begun.popleft())
                begun.extend(
                    self._client.submit(work, *task, pure=False)
                    for task in itertools.islice(waiting, 1)
                )
        finally:
            with contextlib.suppress(RuntimeError, OSError):  # of a client that is closed already
                for future in begun:
                    future.cancel()

    def _result(self, future: Any) -> Any:
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        alone = 0
        while True:
            try:
                return future.result(timeout=_PATIENCE)
            except KilledWorker as error:
                raise RunError(
                    "the Dask workers were lost while reading, several times: they may be out of "
                    "memory; use fewer with --workers, or less with --memory"
                ) from error
            except (CancelledError, CommClosedError) as error:
                raise RunError(
                    "the Dask scheduler was lost while reading; start it and run again"
                ) from error
            except TimeoutError:
                if future.status == "error":
                    raise
                # A lost worker is started again within seconds; a cluster that is gone is not.
                alone = 0 if self._client.nthreads() else alone + 1
                if alone > 1:
                    raise RunError(
                        "the Dask scheduler has had no workers for a while; start some and run again"
                    ) from None


def check_crew(workers: int | None, dask: str | None) -> None:
    """Raise SettingsError if both are given, or ``workers`` is below 1."""
    if workers is not None and dask is not None:
        raise SettingsError(
            f"--workers {workers} and --dask {dask} were both given: take either processes of this "
            "machine or those of a cluster"
        )
    if workers is not None and workers < 1:
        raise SettingsError(f"--workers is {workers}, expected at least 1")


@contextlib.contextmanager
def crew(workers: int | None = None, dask: str | None = None) -> Iterator[Crew | None]:
    """Yield the workers asked for, None for this process alone.

    Parameters
    ----------
    workers
        Processes to start on this machine, one thread each.
    dask
        Address of a scheduler; its workers must see the files under the same paths.

    Raises
    ------
    SettingsError
        If both are given, ``workers`` is below 1, or no scheduler answers.
    MissingExtra
        If Dask is not installed.
    RunError
        If the scheduler has no workers.
    """
    if workers is None and dask is None:
        yield None
        return
    check_crew(workers, dask)
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise MissingExtra("distributed", "dask", "--workers or --dask") from None
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if dask is not None:
        with _client(distributed.Client, dask) as client:
            if not client.nthreads():
                raise RunError(f"the Dask scheduler at {dask} has no workers; start some")
            yield Crew(client)
        return
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any port: the usual one may be in use
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield Crew(client)


@contextlib.contextmanager
def _client(kind: Any, address: str) -> Iterator[Any]:
    client = None
    with contextlib.suppress(OSError, ValueError, TypeError):
        client = kind(address, timeout=_PATIENCE)
    if client is None:
        # The client that failed sits in a cycle and stops its thread when it is collected; left
        # alone, that may happen while the next client starts, and each then waits for the other.
        gc.collect()
        raise SettingsError(
            f"no Dask scheduler answers at {address!r} (asked for {_PATIENCE} seconds); expected an "
            "address such as tcp://host:8786"
        )
    with client:
        yield client
