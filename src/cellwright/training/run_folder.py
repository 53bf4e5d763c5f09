"""The run folder: who may write it, what stands in it, and what is missing from it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from cellwright.config import dump_toml, read_toml
from cellwright.data.atomic import atomic_file
from cellwright.errors import DataError, RunError

FINISHED = ("config.toml", "vocabulary.tsv", "tokenizer.npz", "model.safetensors", "metrics.json")


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

    def prepare(self, *, force: bool, resume: bool) -> None:
        """Make the folder ready for a run.

        A new run needs an empty or new folder, or ``force``, which moves the old run aside and
        removes it only once the new folder stands. ``resume`` needs a folder that a run began.

        Raises
        ------
        RunError
            If the folder holds something and neither applies.
        """
        began = (self.path / "config.toml").is_file()
        if resume:
            if not began:
                raise RunError(
                    f"{self.path} holds no run to continue (no config.toml); leave out --resume"
                )
            return
        if self.path.is_file():
            raise RunError(f"{self.path} is a file; name a folder for the run")
        if self.path.is_dir() and any(p.name != ".lock" for p in self.path.iterdir()):
            if not force:
                state = "a finished run" if self.is_finished() else "something"
                hint = "" if self.is_finished() or not began else ", --resume to continue it"
                raise RunError(
                    f"{self.path} already holds {state}; choose another place with -o, pass "
                    f"--force to replace it{hint}"
                )
            if not began:
                raise RunError(
                    f"{self.path} is not a run folder (no config.toml), so --force does not "
                    "replace it; choose another place with -o"
                )
            for entry in self.path.iterdir():
                if entry.name == ".lock":
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; a second writer is refused.

        The lock names its process; one left behind by a killed process is taken over.

        Raises
        ------
        RunError
            If a live process holds it.
        """
        lock = self.path / ".lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            holder = _holder(lock)
            if holder is not None:
                raise RunError(f"{self.path} is being written by process {holder}; wait for it")
            lock.unlink(missing_ok=True)
            with lock.open("x", encoding="utf-8") as handle:
                json.dump({"pid": os.getpid(), "started": psutil.Process().create_time()}, handle)
        except FileExistsError:
            raise RunError(
                f"{self.path} is being written by another process; wait for it"
            ) from None
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

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
            with np.load(path, allow_pickle=False) as stored:
                state = {name: stored[name] for name in stored.files}
            return str(state.pop("kind")), state
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{path} is not a tokenizer of a run: {error}") from None

    def write_weights(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Weights as safetensors."""
        with atomic_file(self.path / name) as temporary:
            save_file(
                {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary
            )

    def read_weights(self, name: str = "model.safetensors") -> dict[str, Tensor]:
        """Weights of a finished run.

        Raises
        ------
        RunError
            If they are missing or not safetensors.
        """
        path = self._needed(name)
        try:
            return load_file(path)
        # safetensors raises its own SafetensorError, a plain Exception subclass of its extension.
        except Exception as error:  # noqa: BLE001
            raise RunError(f"{path} does not hold the weights of a run: {error}") from None

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


def _holder(lock: Path) -> int | None:
    """The process that holds the lock, None if there is none alive."""
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))
        process = psutil.Process(int(content["pid"]))
        same = abs(process.create_time() - float(content["started"])) < 2.0
    except (FileNotFoundError, psutil.Error, ValueError, KeyError, TypeError):
        return None
    return process.pid if same else None
