"""Cells of a file, split and ranked for pretraining."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.genes import gene_names
from cellwright.data.hashes import fingerprint
from cellwright.data.reading import counts_of
from cellwright.data.scale import verdict
from cellwright.errors import SettingsError
from cellwright.interfaces import Check, RowBlock
from cellwright.tokens.masking import cell_keys
from cellwright.tokens.rank_coverage import judge_coverage
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer
from cellwright.training.fitted_cells import rank_hashes
from cellwright.training.ranked_batches import RankedCells, RankSource
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain_cells import cell_names, chosen_split
from cellwright.workflows.pretrain_ranks import RanksTask, ranks_task, with_genes
from cellwright.workflows.rank_tokenizer import FIT, named_tokenizer
from cellwright.workflows.tokenize import passing

log = logging.getLogger("cellwright.workflows.pretrain_ranks")

_BLOCK_CELLS = 4096


def ranks_of_cells(
    subject: AnnData,
    settings: PretrainSettings,
    *,
    layer: str | None = None,
    assume_counts: bool = False,
) -> RanksTask:
    """Split the cells and rank their genes; medians come from training cells, or are given.

    Cells with a ``filter_pass`` other than 1 and cells without a gene of the vocabulary are left
    out.

    Raises
    ------
    DataError
        If there are no counts, a cell name stands twice, or the split leaves nothing to train on.
    SettingsError, RunError
        If the vocabulary cannot be used.
    """
    kept = passing(subject.obs)
    if kept.size < subject.n_obs:
        subject = subject[kept].copy()
    counts = counts_of(subject, layer=layer, assume_counts=assume_counts)
    names = cell_names(subject)
    chosen = chosen_split(subject, settings)
    rows = {part: chosen.rows(part, names) for part in ("train", "val", "test")}
    tokenizer = _tokenizer(subject, counts, rows["train"], settings)
    checks = []
    if settings.vocabulary != FIT:
        check = _coverage(tokenizer, subject, counts)
        if check is not None:
            log.warning("%s. %s", check.sentence, check.remedy)
            checks = [check]
    tokens, offsets = tokenizer.ranks(counts, threads=torch.get_num_threads())
    lengths_n = np.diff(offsets)
    hashes = rank_hashes(tokens, offsets)
    whole = RankedCells(tokens, offsets, cell_keys(names))
    rows = with_genes(rows, lengths_n, tokenizer.vocabulary_, names)
    sources: dict[str, RankSource] = {}
    for part, at in rows.items():
        found = whole.take(at)
        sources[part] = RankedCells(found.tokens, found.offsets, whole.keys_n[at])
    judged = verdict(counts)
    facts = {
        "fingerprint": fingerprint(subject, hashes),
        "n_obs": int(subject.n_obs),
        "n_vars": int(subject.n_vars),
        "genes": len(tokenizer.vocabulary_),
        "tokens": int(offsets[-1]),
        "cells_cut": int((lengths_n == tokenizer.limit).sum()),
        "cells": {part: len(at) for part, at in rows.items()},
        "split": chosen.to_dict(),
        "verdict": "counts" if judged.are_counts else judged.kind,
    }
    present_g = np.isin(np.arange(len(tokenizer.vocabulary_)), tokenizer.genes_m_)
    return ranks_task(
        settings, chosen, tokenizer, sources, rows, names, subject.obs, present_g, hashes, facts,
        checks,
    )  # fmt: skip


def _tokenizer(
    subject: AnnData, counts: Any, train: NDArray[np.int64], settings: PretrainSettings
) -> RankedTokenizer:
    """The tokenizer named in the settings, or one with the medians of training cells."""
    if settings.vocabulary != FIT:
        if settings.with_cls:
            raise SettingsError(
                f"with_cls goes with medians of the training cells; the vocabulary "
                f"{settings.vocabulary} has its special tokens"
            )
        return named_tokenizer(
            settings.vocabulary, max_tokens=settings.max_tokens, sort_dtype=settings.sort_dtype
        ).for_genes(subject.var)
    found = gene_names(subject.var)
    names = np.asarray(subject.obs_names, dtype=np.str_)
    vocabulary = RankVocabulary.from_training(
        (
            RowBlock(counts[part], names[part], part)
            for part in np.array_split(train, -(-len(train) // _BLOCK_CELLS))
        ),
        found.gene_id,
        found.gene_symbol,
        with_cls=settings.with_cls,
    )
    return RankedTokenizer(
        vocabulary,
        max_tokens=settings.max_tokens,
        sort_dtype=settings.sort_dtype or "float64",
    ).for_genes(subject.var)


def _coverage(tokenizer: RankedTokenizer, subject: AnnData, counts: Any) -> Check | None:
    """What the share of the counts inside the vocabulary gives reason to say."""
    counts_m = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    inside_m = tokenizer.genes_m_ >= 0
    vocabulary = tokenizer.vocabulary_
    return judge_coverage(
        float(counts_m[inside_m].sum() / max(counts_m.sum(), 1e-300)),
        vocabulary.gene_ids,
        vocabulary.symbols,
        subject.var,
        inside_m,
        counts_m,
    )
