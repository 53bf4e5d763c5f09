"""The command line: one module per command, each registered here by name.

Heavy libraries are imported inside the commands, never at the top, so that ``--help`` stays
under half a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Annotated

import typer

from cellwright import __version__
from cellwright.cli import (
    classify_genes,
    cluster,
    console,
    crop,
    disease,
    doctor,
    embed,
    fetch,
    finetune,
    inspect,
    join,
    ldvae,
    map,
    perturb,
    pretrain,
    probe,
    report,
    reverse,
    simulate,
    split,
    study,
    subset,
    tokenize,
    unique,
)
from cellwright.errors import CellwrightError

app = typer.Typer(
    name="cellwright",
    help="Build representation models of single cells and prove whether they are right.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cellwright {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build representation models of single cells and prove whether they are right."""


app.command("classify-genes")(classify_genes.classify_genes)
app.command("cluster")(cluster.cluster)
app.command("crop")(crop.crop)
app.command("doctor")(doctor.doctor)
app.command("embed")(embed.embed)
app.command("fetch")(fetch.fetch)
app.command("finetune")(finetune.finetune)
app.command("inspect")(inspect.inspect)
app.command("join")(join.join)
app.command("ldvae")(ldvae.ldvae)
app.command("map")(map.map)
app.command("perturb")(perturb.perturb)
app.command("pretrain")(pretrain.pretrain)
app.command("probe")(probe.probe)
app.command("report")(report.report)
app.command("simulate")(simulate.simulate)
app.command("split")(split.split)
app.command("study")(study.study)
app.command("subset")(subset.subset)
app.command("tokenize")(tokenize.tokenize)
app.command("unique")(unique.unique)
app.command("demo")(study.demo)
app.add_typer(disease.app, name="disease")
app.add_typer(reverse.app, name="reverse")


def main() -> None:
    """Run the command line; a CellwrightError becomes one sentence and its exit status."""
    # Threads that wait for work must sleep: where another program shares the cores, OpenMP's
    # default of spinning made training ten to twenty times slower. Read when PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with _ended_by_sigterm():
            app()
    except CellwrightError as error:
        console.fail(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """While inside, SIGTERM unwinds as Ctrl-C does, so that nothing half-written stays: exit 143."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:  # a forked worker has nothing to tidy up
            os.kill(os.getpid(), number)
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
