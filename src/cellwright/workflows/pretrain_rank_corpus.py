"""Cells of a folder of tokens, split for pretraining; the tokens stay on disk."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from cellwright.data.rank_corpus import RankCorpus
from cellwright.data.split import UNIT_COLUMNS
from cellwright.errors import DataError, SettingsError
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer
from cellwright.training.fitted_cells import rank_hashes
from cellwright.training.ranked_batches import CorpusCells, RankSource
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain_cells import chosen_split
from cellwright.workflows.pretrain_ranks import RanksTask, ranks_task, with_genes
from cellwright.workflows.rank_tokenizer import FIT, STATE, named_tokenizer

log = logging.getLogger("cellwright.workflows.pretrain_ranks")

_BLOCK_CELLS = 4096
_NAMES = "obs_names"


def ranks_of_corpus(path: Path, settings: PretrainSettings) -> RanksTask:
    """Split the cells of a folder of tokens, which stay on disk.

    The folder's own tokenizer holds, or the vocabulary given; cells are named by the column
    ``obs_names``, else by their rows.

    Raises
    ------
    DataError
        If it is no such folder, its tokens are not of the vocabulary, or the split leaves nothing.
    SettingsError, RunError
        If there is no vocabulary, or medians are to be fitted on what has no counts.
    """
    corpus = RankCorpus.open(path)
    named = path if settings.vocabulary == FIT else settings.vocabulary
    if settings.with_cls:
        raise SettingsError(f"with_cls goes with counts; {path} holds tokens already")
    found = named_tokenizer(named, max_tokens=settings.max_tokens, sort_dtype=settings.sort_dtype)
    if settings.vocabulary != FIT and (path / STATE).is_file():
        _refuse_other_tokens(path, settings.vocabulary, found.vocabulary_)
    tokenizer = RankedTokenizer(
        found.vocabulary_, max_tokens=found.limit, sort_dtype=found.sort_dtype
    )
    subject = AnnData(obs=_obs_of(corpus, settings))
    names = np.asarray(subject.obs_names, dtype=np.str_)
    chosen = chosen_split(subject, settings)
    vocabulary, limit = tokenizer.vocabulary_, tokenizer.limit
    everything = CorpusCells(corpus, np.arange(len(corpus)), vocabulary, limit)
    # One pass: every token is looked at before any is learned.
    hashes = np.concatenate(
        [
            rank_hashes(found.tokens, found.offsets)
            for start in range(0, len(corpus), _BLOCK_CELLS)
            for found in [everything.take(np.arange(start, min(start + _BLOCK_CELLS, len(corpus))))]
        ]
    )
    rows = with_genes(
        {part: chosen.rows(part, names) for part in ("train", "val", "test")},
        everything.lengths_n,
        vocabulary,
        names,
    )
    sources: dict[str, RankSource] = {
        part: CorpusCells(corpus, at, vocabulary, limit) for part, at in rows.items()
    }
    digest = hashlib.sha256("\n".join(names.tolist()).encode())
    digest.update(np.ascontiguousarray(hashes, dtype="<u8").tobytes())
    facts = {
        "fingerprint": digest.hexdigest()[:32],
        "n_obs": len(corpus),
        "genes": len(vocabulary),
        "tokens": int(everything.lengths_n.sum()),
        "cells_cut": int((corpus.lengths_n > limit).sum()),
        "cells": {part: len(at) for part, at in rows.items()},
        "split": chosen.to_dict(),
        "verdict": "tokens",
    }
    present_g = np.ones(len(vocabulary), dtype=np.bool_)
    return ranks_task(
        settings, chosen, tokenizer, sources, rows, names, subject.obs, present_g, hashes, facts, []
    )


def _refuse_other_tokens(path: Path, named: str, vocabulary: RankVocabulary) -> None:
    """A folder that knows its tokens is not read with others: one number would mean two genes."""
    own = named_tokenizer(path).vocabulary_
    genes = [dict(zip(v.token_ids_g.tolist(), v.gene_ids, strict=True)) for v in (own, vocabulary)]
    names = [{int(i): name for name, i in v.special.items()} for v in (own, vocabulary)]
    ours, theirs = genes[0] | names[0], genes[1] | names[1]
    if ours != theirs:
        token = min(t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t))
        raise DataError(
            f"the cells of {path} were tokenized with another vocabulary than {named}: token "
            f"{token} is {ours.get(token, 'unknown')} there and {theirs.get(token, 'unknown')} "
            "here; leave --vocabulary out, or tokenize the cells anew"
        )


def _obs_of(corpus: RankCorpus, settings: PretrainSettings) -> pd.DataFrame:
    """Names of the cells and the columns that a split may need: the others may be large."""
    names = None
    if _NAMES in corpus.columns:
        column = corpus.column(_NAMES)
        if column.is_unique and column.notna().all():
            names = column.astype(str).to_numpy()
        else:
            log.warning("Names stand twice in %s: cells are called by their rows", corpus.path)
    if names is None:
        names = np.arange(len(corpus)).astype(np.str_)
    wanted = {"split", settings.split_by, settings.stratify}
    plain = {
        c: c.lower().replace(" ", "_").replace(".", "_").replace("-", "_") for c in corpus.columns
    }
    kept = [c for c in corpus.columns if c in wanted or plain[c] in UNIT_COLUMNS]
    obs = pd.DataFrame({c: corpus.column(c).to_numpy() for c in kept}, index=pd.Index(names))
    passed = "filter_pass" in corpus.columns and (corpus.column("filter_pass") != 1).any()
    if passed:
        log.warning(
            "%s has cells with filter_pass other than 1; a folder of tokens is taken as it is",
            corpus.path,
        )
    return obs
