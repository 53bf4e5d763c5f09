"""What a study is made of: its data and the settings of each step, as TOML and as presets."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cellwright.config import nearest, read_toml, resolve, to_dict
from cellwright.errors import SettingsError
from cellwright.training.settings import PRESETS, PretrainSettings


@dataclass(frozen=True)
class SimulateSettings:
    """The stand-in when no data are given: simulated neurons with planted truth."""

    cells: int = 2000
    genes: int = 1000
    donors: int = 6
    libraries: int = 12
    programs: int = 8
    depth: float | None = None
    subclasses: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of the probe step."""

    group: str = "auto"
    folds: int = 5
    class_weight: Literal["balanced", "none"] = "balanced"
    shuffles: int = 20
    seed: int = 42


@dataclass(frozen=True)
class ClusterSettings:
    """Settings of the cluster step."""

    neighbors: int = 15
    metric: Literal["cosine", "euclidean"] = "cosine"
    resolution: float = 0.8
    method: Literal["leiden", "louvain"] = "leiden"
    seed: int = 42


@dataclass(frozen=True)
class StudySettings:
    """A whole study.

    name: of the run; data: the h5ad with counts, None to simulate; label: the column that probe
    and cluster ask for; positive, negative: its values that make the two classes of the probe.
    """

    name: str = "encoder"
    data: str | None = None
    label: str = "subtype"
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    layer: str | None = None
    simulate: SimulateSettings = field(default_factory=SimulateSettings)
    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


STEPS: dict[str, type[Any]] = {
    "simulate": SimulateSettings,
    "pretrain": PretrainSettings,
    "probe": ProbeSettings,
    "cluster": ClusterSettings,
}

STUDIES: dict[str, dict[str, dict[str, Any]]] = {
    "neurons-2025": {
        "study": {
            "name": "neurons",
            "label": "subtype",
            "positive": ["cluster_2523"],
            "negative": ["cluster_210"],
        },
        # The two published clusters, and as many cells and genes as the published selection has.
        "simulate": {
            "cells": 1152,
            "genes": 2000,
            "donors": 4,
            "libraries": 24,
            "depth": 13_000.0,
            "subclasses": ["L5 IT", "Sst"],
        },
        "pretrain": PRESETS["neurons-2025"],
        "cluster": {"method": "louvain"},
    },
    "demo": {
        "study": {"name": "neurons", "label": "cell_class"},
        # Counts per gene as in the published neurons, cropped to well detected genes.
        "simulate": {
            "cells": 1200,
            "genes": 800,
            "donors": 12,
            "libraries": 24,
            "depth": 5000.0,
            "subclasses": ["L5 IT", "Sst"],
        },
        "pretrain": {"epochs": 30, "size": "tiny"},
    },
}
"""Studies by name; ``cellwright study --preset NAME --show`` prints one."""


def study_settings(
    preset: str | None, file: Path | None, changes: Sequence[str], data: Path | str | None
) -> StudySettings:
    """Settings of a study from a preset, a TOML file and ``section.key=value`` changes.

    Raises
    ------
    SettingsError
        For an unknown preset, section or key; the nearest known name is given.
    """
    if preset is not None and preset not in STUDIES:
        raise SettingsError(_unknown("preset", preset, STUDIES))
    layers: list[Mapping[str, Any]] = [STUDIES[preset]] if preset else []
    if file is not None:
        layers.append(read_toml(file))
    layers.append(_parsed(changes))
    if data is not None:
        layers.append({"study": {"data": str(data)}})
    sections = {"study": StudySettings, **STEPS}
    for layer in layers:
        for section, content in layer.items():
            if section not in sections:
                raise SettingsError(_unknown("section", section, sections))
            if not isinstance(content, Mapping):
                raise SettingsError(f"{section} is {content!r}, expected a section [{section}]")
            inside = [key for key in content if section == "study" and key in STEPS]
            if inside:
                raise SettingsError(f"{inside[0]!r} is a section of its own: [{inside[0]}]")
    steps = {
        name: resolve(kind, *(layer.get(name) for layer in layers)) for name, kind in STEPS.items()
    }
    head = resolve(StudySettings, *(layer.get("study") for layer in layers))
    return StudySettings(**{**head.__dict__, **steps})


def as_sections(settings: StudySettings) -> dict[str, Any]:
    """The settings as TOML sections, defaults included."""
    whole = to_dict(settings)
    steps = {name: whole.pop(name) for name in STEPS}
    return {"study": whole, **steps}


def _parsed(changes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``pretrain.epochs=5`` -> {"pretrain": {"epochs": 5}}; values are read as TOML, else as text."""
    out: dict[str, dict[str, Any]] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise SettingsError(f"--set {change!r} is not of the form section.key=value")
        out.setdefault(section, {})[name] = _value(value.strip())
    return out


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _unknown(what: str, given: str, known: Mapping[str, Any]) -> str:
    close = nearest(given, known)
    hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"
    return f"unknown {what} {given!r}: {hint}"
