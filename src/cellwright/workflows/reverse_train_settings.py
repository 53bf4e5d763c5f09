"""Settings of ``reverse train``: those of the network, and of the screen it is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from cellwright.config import resolve, to_dict
from cellwright.errors import SettingsError
from cellwright.training.reverse_settings import NetworkSettings
from cellwright.workflows.reverse_screen import Values, refuse_values

EVERYTHING = "none"
"""The split that leaves no perturbation out."""


@dataclass(frozen=True)
class ReverseTrainSettings(NetworkSettings):
    """The network's settings, and what belongs to the screen.

    ``split`` is one of the named splits, ``guides-held-out`` or ``contexts-held-out`` (by the columns
    ``guide`` and ``context``), a split file, ``none`` (train on every perturbation), or
    ``auto``: ``ahlmann-eltze-2025`` where there are doubles enough, else ``none``; ``partition``
    is the seed of a random split, or which guide or context is held out. ``own_genes``: whether
    candidates' own transcripts may be looked at; ``values``: the ``log`` of normalized counts, or the ``root`` of counts. ``held_out``: the share of the cells of every training condition that are kept back, to
    learn from them how many genes were perturbed and how far unseen cells lie. ``most`` queries of
    a condition are asked about.

    Raises
    ------
    SettingsError
        If a value cannot work; the sentence holds it.
    """

    split: str = "auto"
    partition: int = 0
    own_genes: Literal["hidden", "visible"] = "hidden"
    values: Values = "log"
    held_out: float = 0.1
    most: int = 20

    perturbation: str | None = None
    control: str | None = None
    separator: str = "+"
    batch: str | None = None
    guide: str | None = None
    context: str | None = None
    min_cells: int = 2
    knowledge: tuple[str, ...] = ()
    gene_table: str | None = None
    build: str = "GRCh38"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("partition", 0), ("most", 1), ("min_cells", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected {least} or more")
        refuse_values(self.values, self.pretrained)
        if not 0 <= self.held_out < 0.5:
            raise SettingsError(
                f"held_out is {self.held_out}, expected a share of cells, 0 or more and below 0.5"
            )

    @property
    def network(self) -> NetworkSettings:
        """The network's settings alone."""
        names = [f.name for f in fields(NetworkSettings)]
        return NetworkSettings(**{name: getattr(self, name) for name in names})


def train_settings(*layers: Mapping[str, Any] | None) -> ReverseTrainSettings:
    """Settings from layers, later ones winning.

    Raises
    ------
    SettingsError
        For an unknown key or a value that cannot work.
    """
    return resolve(ReverseTrainSettings, *layers)


def stored(settings: ReverseTrainSettings) -> dict[str, Any]:
    """What ``config.toml`` holds; TOML knows no None, so that patience without end is left out."""
    kept = to_dict(settings)
    return kept if settings.patience is not None else {**kept, "patience": 0}


def read_stored(config: Mapping[str, Any]) -> ReverseTrainSettings:
    """What :func:`stored` gave."""
    given = {k: v for k, v in config.items() if (k, v) != ("patience", 0)}
    found = resolve(ReverseTrainSettings, given)
    if config.get("patience") == 0:
        values = {f.name: getattr(found, f.name) for f in fields(found)}
        return ReverseTrainSettings(**{**values, "patience": None})
    return found
