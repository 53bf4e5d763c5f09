"""The rows of the history as curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from cellwright.training.run_folder import translated

_NOT_CURVES = ("epoch", "seconds")


class EpochCurves:
    """Writes event files into a folder, one value per column and epoch.

    Raises
    ------
    DataError
        If the folder cannot be written or the disk is full, at any of the calls.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with translated(folder):
            self._writer = SummaryWriter(str(folder))

    def add(self, row: Mapping[str, float]) -> None:
        """Write one row; ``epoch`` is its place on the axis."""
        with translated(self._folder):
            for name, value in row.items():
                if name not in _NOT_CURVES:
                    self._writer.add_scalar(name, value, int(row["epoch"]))
            self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with translated(self._folder):
            self._writer.close()
