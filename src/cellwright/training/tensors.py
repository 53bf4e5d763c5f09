"""Tensors on disk as safetensors: written whole or not at all, read without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cellwright.data.atomic import atomic_file
from cellwright.errors import RunError


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors under their names.

    Raises
    ------
    DataError
        If the place cannot be written or the disk is full.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    # As bytes: the library's own writing makes files that only their owner may read, and says
    # that a disk is full with an exception that is no OSError.
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(plain))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what ``write_tensors`` wrote.

    Raises
    ------
    RunError
        If the file does not hold tensors.
    """
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{path} does not hold the tensors of a run: {error}") from None
