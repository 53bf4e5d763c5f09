"""The report: one HTML file that needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def build_report(
    run: Path | str | None = None,
    probes: Sequence[Path | str] = (),
    clusters: Sequence[Path | str] = (),
    inspection: Path | str | None = None,
    title: str | None = None,
    out: Path | str = "report.html",
) -> Path:
    """Write one self-contained page about a run, its probes and its clusters.

    A part that is missing is left out with a sentence that says so. An existing ``out`` is
    replaced (atomically).

    Parameters
    ----------
    run
        Run folder of a pretraining.
    probes, clusters
        Folders written by ``cellwright probe`` and ``cellwright cluster``.
    inspection
        JSON file as ``cellwright inspect --json`` prints it.
    title
        Heading of the page; default from the run's name.
    out
        Where to write.

    Returns
    -------
    The path written.

    Raises
    ------
    RunError
        If a folder does not exist, is of another kind, or its ``metrics.json`` cannot be read.
    DataError
        If ``out`` cannot be written, or nothing at all was given to report on.
    """
    raise NotImplementedError
