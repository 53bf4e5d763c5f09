"""What must be the same when a stopped run continues: its settings, its cells, their split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from cellwright.config import resolve, to_dict
from cellwright.errors import RunError, SettingsError
from cellwright.training.checkpoint import has_checkpoint
from cellwright.training.run_folder import RunFolder

_S = TypeVar("_S")


def resumed_settings(folder: RunFolder, kept: _S, *layers: Mapping[str, Any] | None) -> _S:
    """The settings the run was begun with; what is given anew must not change them.

    Raises
    ------
    SettingsError
        If it does; the sentence holds both values.
    """
    given = resolve(type(kept), to_dict(kept), *layers)
    if given != kept:
        ours, theirs = to_dict(kept), to_dict(given)
        changed = next(k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k))
        raise SettingsError(
            f"--resume continues with the run's own settings, but {changed} is "
            f"{theirs.get(changed)!r} here and {ours.get(changed)!r} in {folder.path}/config.toml"
        )
    return kept


def refuse_other_data(folder: RunFolder, data: Mapping[str, Any]) -> None:
    """Refuse to continue on other cells, or on another split of them.

    Raises
    ------
    RunError
        If the cells or the split are others, or the folder does not say which they were.
    """
    if not (folder.path / "provenance.json").is_file() and not has_checkpoint(folder.checkpoint):
        return  # killed before it could say what it began on, and before it learned anything
    known = folder.read_json("provenance.json")
    try:
        began, cells, split = known["data"], known["data"]["n_obs"], known["data"]["split"]["hash"]
        same = began["fingerprint"] == data["fingerprint"]
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{folder.path / 'provenance.json'} does not say what data the run began on: {error!r}"
        ) from None
    if not same:
        raise RunError(
            f"{folder.path} began on other data (fingerprint {began['fingerprint'][:12]}, {cells} "
            f"cells) than these ({data['fingerprint'][:12]}, {data['n_obs']} cells); continue with "
            "the same file"
        )
    if split != data["split"]["hash"]:
        raise RunError(
            f"{folder.path} began with the split {split[:12]} of these cells, here it is "
            f"{data['split']['hash'][:12]}; continue with the same split"
        )
