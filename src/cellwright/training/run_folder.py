"""The run folder: who may write it, what stands in it, and what is missing from it."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from cellwright.config import dump_toml, read_toml
from cellwright.data.atomic import atomic_file
from cellwright.errors import DataError, RunError
from cellwright.training.only_writer import LOCK, only_writer
from cellwright.training.tensors import read_tensors, write_tensors

FINISHED = ("config.toml", "vocabulary.tsv", "tokenizer.npz", "model.safetensors", "metrics.json")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an OSError, as of a full disk, into a DataError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


class RunFolder:
    """One run on disk; every file in it is written under a temporary name and renamed."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        """The name under which its vectors are stored."""
        return self.path.resolve().name

    @property
    def checkpoint(self) -> Path:
        """Where training continues from."""
        return self.path / "checkpoint"

    def is_finished(self) -> bool:
        """Whether the run reached its end."""
        return all((self.path / name).is_file() for name in FINISHED)

    def need_finished(self) -> None:
        """Raise if the run did not reach its end.

        Raises
        ------
        RunError
            Naming the first file that is missing.
        """
        for name in FINISHED:
            self._needed(name)

    def refuse(self, *, force: bool, resume: bool) -> None:
        """Raise if a run may not begin here; nothing is changed.

        A new run needs a new or empty folder, or ``force`` and a run in its place; ``resume`` needs
        a folder that a run began.

        Raises
        ------
        RunError
            Saying what is there and which flag would help.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; name a folder for the run")
        began = (self.path / "config.toml").is_file()
        if resume and not began:
            raise RunError(
                f"{self.path} holds no run to continue (no config.toml); leave out --resume"
            )
        if resume or not self._entries():
            return
        if not began:
            raise RunError(
                f"{self.path} holds something that is not a run (no config.toml), which --force "
                "does not replace either; choose another place with -o"
            )
        if not force:
            state = "a finished run" if self.is_finished() else "a run that did not end"
            hint = "" if self.is_finished() else ", --resume to continue it"
            raise RunError(
                f"{self.path} already holds {state}; choose another place with -o, pass --force "
                f"to replace it{hint}"
            )

    @contextlib.contextmanager
    def writing(self, *, force: bool, resume: bool) -> Iterator[None]:
        """Hold the folder as its only writer, ready for a run: with ``force`` an old run is removed.

        Raises
        ------
        RunError
            If ``refuse`` does, or another process is writing here.
        """
        self.refuse(force=force, resume=resume)
        with only_writer(self.path):
            # Again: another run may have begun before the folder was ours.
            self.refuse(force=force, resume=resume)
            with translated(self.path):
                for left in self.path.rglob(".*.partial*"):  # of a writer that was killed
                    _remove(left)
                if force and not resume:
                    # What makes it a finished run goes first, what makes it a run last: killed
                    # in between, the folder is still one that --force replaces.
                    order = {"metrics.json": 0, "config.toml": 2}
                    for entry in sorted(self._entries(), key=lambda e: order.get(e.name, 1)):
                        _remove(entry)
            yield

    def _entries(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        return [
            entry
            for entry in self.path.iterdir()
            if entry.name != LOCK and not entry.match(".*.partial*")
        ]

    def log(self, text: str) -> None:
        """Add a line to ``run.log``, with the time."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        path = self.path / "run.log"
        with translated(path), path.open("a", encoding="utf-8") as handle:
            handle.write(f"{now} {text}\n")

    def write_config(self, settings: Mapping[str, Any]) -> None:
        """Every setting, defaults included."""
        with atomic_file(self.path / "config.toml") as temporary:
            temporary.write_text(dump_toml(settings), encoding="utf-8")

    def read_config(self) -> dict[str, Any]:
        """The settings of the run.

        Raises
        ------
        RunError
            If this is no run folder.
        """
        if not self.path.is_dir():
            raise RunError(f"no run folder at {self.path}")
        if not (self.path / "config.toml").is_file():
            raise RunError(f"{self.path} is not a run folder: it has no config.toml")
        return read_toml(self.path / "config.toml")

    def write_tokenizer(self, kind: str, state: Mapping[str, NDArray[Any]]) -> None:
        """The fitted tokenizer as plain arrays."""
        arrays: dict[str, Any] = {"kind": np.array(kind), **state}
        with (
            atomic_file(self.path / "tokenizer.npz") as temporary,
            temporary.open("wb") as handle,
        ):
            np.savez_compressed(handle, **arrays)

    def read_tokenizer(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """The tokenizer's kind and state.

        Raises
        ------
        RunError
            If the file is missing or damaged.
        """
        path = self._needed("tokenizer.npz")
        try:
            # Opened here: np.load leaves the file of a damaged archive open.
            with path.open("rb") as handle:
                if handle.read(2) != b"PK":  # of which np.load would say that it may be a pickle
                    raise ValueError("it is no .npz archive")
                handle.seek(0)
                with np.load(handle, allow_pickle=False) as stored:
                    state = {name: stored[name] for name in stored.files}
            return str(state.pop("kind")), state
        except (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error) as error:
            raise RunError(f"{path} is not a tokenizer of a run: {error}") from None

    def write_weights(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Weights as safetensors."""
        write_tensors(self.path / name, tensors)

    def read_weights(self, name: str = "model.safetensors") -> dict[str, Tensor]:
        """Weights of a finished run.

        Raises
        ------
        RunError
            If they are missing or not safetensors.
        """
        return read_tensors(self._needed(name))

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """One row per epoch, as CSV."""
        if not rows:
            return
        with (
            atomic_file(self.path / "history.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as handle,
        ):
            writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def read_history(self) -> pd.DataFrame:
        """What ``write_history`` wrote.

        Raises
        ------
        RunError
            If it is missing or is no table of epochs.
        """
        path = self._needed("history.csv")
        try:
            history = pd.read_csv(path, float_precision="round_trip")
        except (ValueError, OSError) as error:
            raise RunError(f"{path} is not the history of a run: {error}") from None
        if "epoch" not in history.columns:
            raise RunError(f"{path} is not the history of a run: it has no column 'epoch'")
        return history

    def write_json(self, name: str, content: Any) -> None:
        """A JSON file; NaN is refused, because not every program reads it."""
        with atomic_file(self.path / name) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")

    def read_json(self, name: str) -> Any:
        """The content of one of the run's JSON files.

        Raises
        ------
        RunError
            If it is missing or is not JSON.
        """
        path = self._needed(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{path} is not JSON: {error}") from None

    def _needed(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise RunError(
                f"the run {self.path} has no {name}: it is not a run of this kind, or it did not "
                "reach its end (cellwright pretrain … --resume continues it)"
            )
        return path


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
