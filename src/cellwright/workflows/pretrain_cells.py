"""The cells of a pretraining run: their split, their tokens, and what no network predicts of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.hashes import cell_hashes, fingerprint
from cellwright.data.scale import verdict
from cellwright.data.split import Split, split
from cellwright.errors import DataError
from cellwright.interfaces import RowBlock
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.cell_binned import CellBinnedTokenizer
from cellwright.tokens.masking import cell_keys
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.batches import VALIDATION_EPOCH, BinnedCells
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.references import References, references
from cellwright.training.settings import PretrainSettings

log = logging.getLogger(__name__)

_BLOCK_CELLS = 4096


@dataclass(frozen=True)
class RunCells:
    """The cells of a run in tokens, with what was fitted on its training cells.

    parts: tokens per part of the split; rows: positions of its cells in the data; names: of all
    cells; units_n: what intervals resample (``chosen.by``, else the cells themselves); fitted:
    which cell was used for what; facts: the data in ``provenance.json``.
    """

    chosen: Split
    vocabulary: Vocabulary
    tokenizer: BinnedTokenizer | CellBinnedTokenizer
    parts: dict[str, BinnedCells]
    rows: dict[str, NDArray[np.int64]]
    names: NDArray[np.str_]
    units_n: NDArray[np.str_]
    fitted: FittedCells
    facts: dict[str, Any]


def chosen_split(subject: AnnData, settings: PretrainSettings) -> Split:
    """The split in ``obs["split"]`` where ``split_by`` is ``auto``, else a new one.

    Where ``obs["split"]`` has no val cells, val is carved from train and test stays as it is.

    Raises
    ------
    DataError
        If train or val would be empty.
    """
    given = "split" in subject.obs.columns
    if given and settings.split_by == "auto":
        chosen = Split.from_obs(subject)
        if chosen.counts["train"] > 1 and not chosen.counts["val"] and settings.val > 0:
            chosen = _with_val(subject, chosen, settings)
    else:
        if given:
            log.warning(
                "obs['split'] is not used: split_by is %r, not 'auto'; cells that it holds out "
                "may be trained on.",
                settings.split_by,
            )
        chosen = split(
            subject,
            by=settings.split_by,
            label=settings.stratify,
            val=settings.val,
            test=settings.test,
            seed=settings.seed,
        )
    if chosen.note:
        log.info(chosen.note)
    for part in ("train", "val"):
        if chosen.counts[part] == 0:
            counts = ", ".join(f"{name} {count}" for name, count in chosen.counts.items())
            where = "obs['split']" if given and settings.split_by == "auto" else "the split"
            raise DataError(
                f"{where} has no {part} cells ({counts}), and pretraining needs train and val: "
                + ("split again with `cellwright split`" if part == "train" else "raise --val")
            )
    return chosen


def _with_val(subject: AnnData, chosen: Split, settings: PretrainSettings) -> Split:
    train = chosen.rows("train", subject.obs_names)
    carved = split(
        subject[train],
        by=chosen.by or "auto",
        label=settings.stratify,
        val=min(0.5, settings.val * subject.n_obs / len(train)),
        test=0.0,
        seed=settings.seed,
    )
    assignment = chosen.assignment.copy()
    assignment[carved.assignment.index] = carved.assignment
    note = f"obs['split'] has no val cells: {carved.counts['val']} train cells were set aside."
    return Split.make(
        assignment,
        by=carved.by,
        label=carved.label,
        seed=settings.seed,
        val=settings.val,
        test=chosen.test,
        note=" ".join(filter(None, (chosen.note, note, carved.note))),
    )


def cell_names(subject: AnnData) -> NDArray[np.str_]:
    """The names of the cells.

    Raises
    ------
    DataError
        If one stands twice.
    """
    names = np.asarray(subject.obs_names, dtype=np.str_)
    if len(np.unique(names)) < len(names):
        values, times = np.unique(names, return_counts=True)
        raise DataError(
            f"the cell name {str(values[times.argmax()])!r} stands {times.max()} times; masks and "
            "splits are kept by cell name: make the names unique first, "
            "with cellwright unique"
        )
    return names


def tokenized(subject: AnnData, counts: Any, settings: PretrainSettings) -> RunCells:
    """Split the cells and bin them; ``counts`` are the counts of ``subject``.

    Raises
    ------
    DataError
        If a cell name stands twice, or the split leaves nothing to train on.
    """
    names = cell_names(subject)
    chosen = chosen_split(subject, settings)
    judged = verdict(counts)
    vocabulary = Vocabulary.from_var(subject.var)
    counts = vocabulary.take(counts, vocabulary.align(subject.var))
    rows = {part: chosen.rows(part, names) for part in ("train", "val", "test")}
    empty = np.flatnonzero(np.diff(counts.indptr) == 0)
    if len(empty):
        log.warning("%d cells have no counts at all, %s first", len(empty), names[empty[0]])
    train = rows["train"]
    tokenizer = settings.new_tokenizer().fit(
        RowBlock(counts[part], names[part], part)
        for part in np.array_split(train, -(-len(train) // _BLOCK_CELLS))
    )
    by_count = settings.mask_nonzero == "count"
    keys = cell_keys(names)
    parts = {}
    part_of = np.full(len(names), "", dtype="<U5")
    for part, at in rows.items():
        nonzero = counts[at].toarray() > 0 if by_count else None
        parts[part] = BinnedCells(tokenizer.bins(counts[at]), nonzero, keys[at])
        part_of[at] = part
    hashes = cell_hashes(counts)
    facts = {
        "fingerprint": fingerprint(subject, hashes),
        "n_obs": int(subject.n_obs),
        "n_vars": int(subject.n_vars),
        "genes": len(vocabulary),
        "cells": {part: len(at) for part, at in rows.items()},
        "split": chosen.to_dict(),
        "verdict": "counts" if judged.are_counts else judged.kind,
    }
    return RunCells(
        chosen=chosen,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        parts=parts,
        rows=rows,
        names=names,
        units_n=units_of(subject.obs, chosen.by, names),
        fitted=FittedCells(names, part_of, hashes),
        facts=facts,
    )


def units_of(obs: pd.DataFrame, by: str | None, names: NDArray[np.str_]) -> NDArray[np.str_]:
    """The group of each cell; a cell without one is a unit of its own, as in the split."""
    if by is None or by not in obs.columns:
        return names
    groups = obs[by]
    known = groups.notna().to_numpy()
    return np.where(known, groups.astype(str).to_numpy(dtype=np.str_), names)


def references_on(cells: RunCells, part: str, settings: PretrainSettings) -> References:
    """What the training cells say, without a network, of the masked bins of ``part``."""
    train, held = cells.parts["train"], cells.parts[part]
    all_train, all_held = np.arange(len(train)), np.arange(len(held))
    rule = settings.mask_rule
    return references(
        train.bins_ng,
        train.nonzero(all_train),
        held.bins_ng,
        held.nonzero(all_held),
        held.masked(all_held, rule, VALIDATION_EPOCH, settings.seed),
        rule,
        cells.tokenizer.n_bins_g,
        settings.seed,
        n_values=cells.tokenizer.n_values,
    )
