"""The cells of a linear VAE's run: which of them it is fitted on, their split, counts and batches."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.blocks import iter_blocks
from cellwright.data.disk.aside import AsideFile
from cellwright.data.hashes import cell_hashes, fingerprint
from cellwright.data.matrix import layer_in_use, matrix_of, stored
from cellwright.data.split import Split
from cellwright.errors import DataError
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.linear_vae_settings import LDVAESettings
from cellwright.training.packed_counts import Counts, CountsOnDisk, PackedCounts
from cellwright.workflows.pretrain_cells import cell_names, chosen_split

log = logging.getLogger(__name__)

NORMAL = "normal"
BASE = "base_cell"
_BLOCK_CELLS = 512
_ENTRY_BYTES = 3
_SHARE_OF_MEMORY = 0.25


@dataclass(frozen=True)
class LDVAECells:
    """train, val: counts of the cells that fit and that stop; codes: their batches, named by batches;
    rows: positions of train, val and the held-out rest; note: what a reader must know."""

    chosen: Split
    vocabulary: Vocabulary
    train: Counts
    val: Counts
    train_codes_n: NDArray[np.int64]
    val_codes_n: NDArray[np.int64]
    batches: tuple[str, ...]
    rows: dict[str, NDArray[np.int64]]
    fitted: FittedCells
    facts: dict[str, Any]
    note: str


def lie_on_disk(subject: AnnData, settings: LDVAESettings, layer: str | None) -> bool:
    """Whether the counts are put aside on disk: as set, else where a file holds very many of them."""
    if settings.from_disk is not None or not subject.isbacked:
        return bool(settings.from_disk)
    name = layer_in_use(subject, layer)
    matrix = stored(matrix_of(subject, name), name)
    free = psutil.virtual_memory().available
    return matrix is not None and matrix.n_stored * _ENTRY_BYTES > _SHARE_OF_MEMORY * free


def ldvae_cells(
    subject: AnnData,
    settings: LDVAESettings,
    *,
    layer: str | None,
    assume_counts: bool,
    aside: AsideFile | None = None,
) -> LDVAECells:
    """Split the cells and read the counts of those that the model is fitted on, in blocks.

    They are kept in ``aside``, which must stay open, or in memory.

    Raises
    ------
    DataError
        If no cell is normal, the split leaves nothing to fit or stop on, a column is missing, or a
        validation cell is of a batch without training cells.
    """
    names = cell_names(subject)
    settings, note = _split_by_base(subject, settings)
    chosen = chosen_split(subject, settings.of_split)
    used_n, said = _used(subject, settings)
    for sentence in filter(None, (note, said)):  # the split has said its own
        log.info(sentence)
    rows = {part: chosen.rows(part, names) for part in ("train", "val")}
    rows = {part: at[used_n[at]] for part, at in rows.items()}
    for part, at in rows.items():
        if len(at) == 0:
            raise DataError(
                f"the split has {chosen.counts[part]} {part} cells and none of them is "
                f"{NORMAL!r} in obs[{settings.state_column!r}]; split with normal cells in every "
                "part, or use --fit-on train"
            )
    rows["rest"] = np.setdiff1d(np.arange(subject.n_obs), np.concatenate([*rows.values()]))
    codes, batches = _batches(subject, rows, settings.batch_key)
    vocabulary = Vocabulary.from_var(subject.var)
    alignment = vocabulary.align(subject.var)
    hashes_n = np.zeros(subject.n_obs, dtype=np.uint64)

    def blocks(part: str) -> Any:
        for block in iter_blocks(
            subject,
            layer=layer,
            rows=rows[part],
            block_cells=_BLOCK_CELLS,
            assume_counts=assume_counts,
        ):
            counts: sp.csr_matrix = vocabulary.take(block.counts_ng, alignment)
            hashes_n[block.rows] = cell_hashes(counts)
            yield counts

    train, val = (
        PackedCounts.of(blocks(part)) if aside is None else CountsOnDisk.of(blocks(part), aside)
        for part in ("train", "val")
    )
    for _ in blocks("rest") if len(rows["rest"]) else ():
        pass  # for their hashes
    part_of = np.full(subject.n_obs, "test", dtype="<U5")
    for part in ("train", "val"):
        part_of[rows[part]] = part
    facts = {
        "fingerprint": fingerprint(subject, hashes_n),
        "n_obs": int(subject.n_obs),
        "n_vars": int(subject.n_vars),
        "genes": len(vocabulary),
        "cells": {"train": len(train), "val": len(val), "not used": len(rows["rest"])},
        "split": chosen.to_dict(),
        "batches": list(batches),
    }
    return LDVAECells(
        chosen=chosen,
        vocabulary=vocabulary,
        train=train,
        val=val,
        train_codes_n=codes["train"],
        val_codes_n=codes["val"],
        batches=batches,
        rows=rows,
        fitted=FittedCells(names, part_of, hashes_n),
        facts=facts,
        note=" ".join(part for part in (note, said, chosen.note) if part),
    )


def _split_by_base(subject: AnnData, settings: LDVAESettings) -> tuple[LDVAESettings, str]:
    """Copies of one cell must not fall on both sides, whatever else a split goes by."""
    obs = subject.obs
    if (
        settings.split_by != "auto"
        or "split" in obs.columns
        or BASE not in obs.columns
        or not obs[BASE].duplicated().any()
    ):
        return settings, ""
    return replace(settings, split_by=BASE), f"Split by obs[{BASE!r}]: cells have copies."


def _used(subject: AnnData, settings: LDVAESettings) -> tuple[NDArray[np.bool_], str]:
    """Which cells may be fitted on."""
    everything = np.ones(subject.n_obs, dtype=bool)
    column = settings.state_column
    given = column in subject.obs.columns
    if settings.fit_on == "train":
        return everything, "Fitted on training cells of every state." if given else ""
    if not given:
        if column != LDVAESettings.state_column:
            close = nearest(column, map(str, subject.obs.columns))
            raise DataError(
                f"obs has no column {column!r}"
                + (f"; did you mean {close!r}?" if close else "; name one with --state-column")
            )
        return everything, ""
    states = subject.obs[column].astype(str).to_numpy(dtype=str)
    used_n = states == NORMAL
    if not used_n.any():
        found = ", ".join(sorted(set(states.tolist()))[:5])
        raise DataError(
            f"no cell is {NORMAL!r} in obs[{column!r}] (values: {found}); name another column with "
            "--state-column, or use --fit-on train"
        )
    return used_n, f"Fitted on the cells that are {NORMAL!r} in obs[{column!r}] only."


def _batches(
    subject: AnnData, rows: dict[str, NDArray[np.int64]], key: str | None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Batch codes of training and validation cells, and the names of the batches."""
    if key is None:
        return {part: np.zeros(len(at), np.int64) for part, at in rows.items()}, ()
    if key not in subject.obs.columns:
        close = nearest(key, map(str, subject.obs.columns))
        raise DataError(
            f"obs has no column {key!r} for --batch-key"
            + (f"; did you mean {close!r}?" if close else "")
        )
    values = subject.obs[key]
    used = np.concatenate([rows["train"], rows["val"]])
    if values.iloc[used].isna().any():
        raise DataError(f"obs[{key!r}] is empty for some cells; fill it or leave out --batch-key")
    named_n = values.astype(str).to_numpy(dtype=str)
    # Of one cell a batch's effect cannot be learned, on whichever side of the split it falls.
    for name, cells in zip(*np.unique(named_n, return_counts=True), strict=True):
        if cells == 1:
            raise DataError(
                f"batch {str(name)!r} in obs[{key!r}] has 1 cell, expected at least 2; leave the "
                "cell out, or merge batches"
            )
    batches = tuple(sorted(set(named_n[rows["train"]].tolist())))
    unknown = sorted(set(named_n[rows["val"]].tolist()) - set(batches))
    if unknown:
        raise DataError(
            f"validation cells are of batch {unknown[0]!r} in obs[{key!r}], of which there is no "
            "training cell; the decoder knows only batches it was trained on: use --split-by none, "
            "or another --batch-key"
        )
    code = {name: at for at, name in enumerate(batches)}
    return {
        part: np.array([code[str(name)] for name in named_n[rows[part]]], dtype=np.int64)
        for part in ("train", "val")
    }, batches
