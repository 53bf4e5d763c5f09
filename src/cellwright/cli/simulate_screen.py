"""``cellwright simulate screen``: the part of the command that is about screens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cellwright.cli.cells_bar import cells_bar
from cellwright.errors import SettingsError


def screen_to_file(
    out: Path,
    preset: str,
    depth: float | None,
    batch_effect: float,
    interference: bool,
    *,
    force: bool,
    quiet: bool,
    **changed: Any,
) -> tuple[dict[str, Any], str]:
    """Write a simulated screen; what the command prints, as JSON and for people.

    Parameters
    ----------
    depth
        Mean counts of a cell, None for the preset's.
    batch_effect
        Times the preset's.
    changed
        Settings of the screen; None leaves the preset's.

    Raises
    ------
    SettingsError, RunError, DataError
        For settings that cannot work, a file that exists, a place that cannot be written.
    """
    from cellwright.data.screen_settings import screen_settings
    from cellwright.data.simulated_screen import simulate_screen_to_file

    settings = screen_settings(preset, **changed)
    settings = replace(settings, batch_effect=settings.batch_effect * batch_effect)
    if interference:
        settings = replace(settings, kind="interference")
    if depth is not None:
        if depth <= 0:
            raise SettingsError(f"depth is {depth:g}, expected counts per cell above 0")
        settings = replace(settings, counts_per_gene=depth / settings.genes)
    whole = (settings.targets + settings.doubles) * settings.cells + settings.controls
    drawn = 0
    with cells_bar("simulating", quiet) as tell:

        def advance(n: int) -> None:
            nonlocal drawn
            drawn += n
            tell(drawn, whole)

        obs = simulate_screen_to_file(out, settings, progress=advance, force=force)
    result = {
        "schema": "cellwright.simulate/1",
        "n_obs": len(obs),
        "n_vars": settings.genes,
        "singles": settings.targets,
        "doubles": settings.doubles,
        "controls": settings.controls,
        "preset": preset,
        "seed": settings.seed,
        "out": str(out),
    }
    text = (
        f"wrote {out}: {len(obs):,} cells × {settings.genes:,} genes, {settings.targets} single and "
        f"{settings.doubles} double perturbations, {settings.controls:,} control cells"
    )
    return result, text
