"""Options that the commands preparing an atlas share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellwright.errors import SettingsError


class Compression(StrEnum):
    gzip = "gzip"
    lzf = "lzf"
    none = "none"


class Raw(StrEnum):
    keep = "keep"
    drop = "drop"


Out = Annotated[
    Path,
    typer.Option("-o", "--out", help="The .h5ad or .zarr to write.", rich_help_panel="Output"),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace OUT if it exists.", rich_help_panel="Output")
]
Compress = Annotated[
    Compression,
    typer.Option("--compression", help="How matrices are packed.", rich_help_panel="Output"),
]
KeepRaw = Annotated[
    Raw, typer.Option("--raw", help="Keep or drop raw, if there is one.", rich_help_panel="Output")
]
Memory = Annotated[
    str,
    typer.Option(
        "--memory",
        help="Bound on the working memory for matrices, such as 512MB or 2GB.",
        rich_help_panel="Machine",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", help="Processes of this machine, over Dask.", rich_help_panel="Machine"
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        help="Address of a Dask scheduler, e.g. tcp://host:8786.",
        rich_help_panel="Machine",
    ),
]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def bytes_of(memory: str) -> int:
    """``512MB`` -> 512,000,000.

    Raises
    ------
    SettingsError
        If it is not a size.
    """
    found = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?)(i?)b?\s*", memory.lower())
    if found is None or found[1].count(".") > 1 or found[1] == ".":
        raise SettingsError(f"--memory is {memory!r}, expected a size such as 512MB or 2GB")
    base = 1024 / 1000 if found[3] and found[2] else 1
    power = " kmgt".index(found[2] or " ")
    return int(float(found[1]) * _UNITS[found[2]] * base**power)
