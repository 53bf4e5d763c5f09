"""Pretraining on masked ranks: cells in rank tokens from counts or a folder, and their objective."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor, nn

from cellwright.data.genes import gene_names
from cellwright.data.hashes import fingerprint
from cellwright.data.rank_corpus import RankCorpus
from cellwright.data.reading import counts_of
from cellwright.data.scale import verdict
from cellwright.data.split import UNIT_COLUMNS, Split
from cellwright.errors import DataError, SettingsError
from cellwright.interfaces import Check, RowBlock
from cellwright.models.build import build_rank_encoder, rank_shape
from cellwright.models.rank_encoder import RankShape
from cellwright.tokens.masking import cell_keys
from cellwright.tokens.rank_coverage import judge_coverage
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer
from cellwright.training.batches import VALIDATION_EPOCH
from cellwright.training.fitted_cells import FittedCells, rank_hashes
from cellwright.training.masked_ranks import MaskedRankModel, MaskedRanks, example
from cellwright.training.rank_references import RankReferences, rank_references
from cellwright.training.ranked_batches import CorpusCells, RankedCells, RankSource, masked_batch
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain_cells import cell_names, chosen_split, units_of
from cellwright.workflows.pretrain_task import Scored
from cellwright.workflows.rank_tokenizer import FIT, STATE, named_tokenizer
from cellwright.workflows.tokenize import passing

log = logging.getLogger(__name__)

_BLOCK_CELLS = 4096
_NAMES = "obs_names"
_PREFIX = "encoder."


@dataclass(frozen=True)
class RanksTask:
    """Masked ranks as a :class:`~cellwright.workflows.pretrain_task.PretrainTask`.

    sources: cells in tokens per part; rows: their positions in the data; names: of all cells;
    units_n: what intervals resample; present_g: genes of the vocabulary that the data have.
    """

    settings: PretrainSettings
    chosen: Split
    tokenizer: RankedTokenizer
    sources: dict[str, RankSource]
    rows: dict[str, NDArray[np.int64]]
    names: NDArray[np.str_]
    units_n: NDArray[np.str_]
    present_g: NDArray[np.bool_]
    fitted: FittedCells
    facts: dict[str, Any]
    checks: list[Check]

    @property
    def name(self) -> str:
        return "masked-ranks"

    @property
    def vocabulary(self) -> RankVocabulary:
        return self.tokenizer.vocabulary_

    @property
    def counts(self) -> dict[str, int]:
        return {part: len(of) for part, of in self.sources.items()}

    @property
    def rule(self) -> dict[str, Any]:
        return {
            "tokens": self.tokenizer.rule,
            "mask": self.settings.rank_rule.words,
            "genes": len(self.vocabulary),
        }

    @property
    def objective(self) -> MaskedRanks:
        return MaskedRanks(
            self.sources["train"],
            self.sources["val"],
            self.vocabulary,
            self.settings.rank_rule,
            self.settings.seed,
            self.settings.val_batch_size,
        )

    def tokenizer_state(self) -> dict[str, NDArray[Any]]:
        return {**self.tokenizer.state(), "present_g": self.present_g}

    def builder(self) -> Callable[[], nn.Module]:
        tokens = self.vocabulary.n_tokens
        shape = rank_shape(self.settings.encoder, tokens, self.tokenizer.limit)
        frequencies_v = torch.from_numpy(self._val_references.log_frequencies_v)
        return partial(_built, shape, frequencies_v, self.settings.seed)

    def reference_columns(self) -> dict[str, float]:
        found = self._val_references
        columns = {f"ref_{name}": value for name, value in found.perplexity.items()}
        return {**columns, "ref_majority_accuracy": found.accuracy["majority"]}

    def weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}

    def scored(self, model: Any, part: str) -> Scored:
        held = self.objective.measured(model, self.sources[part], torch.device("cpu"))
        beside = self._val_references if part == "val" else self._references(part)
        places_n = np.maximum(held.places_n, 1)
        hidden = held.hidden_perplexity
        return Scored(
            networks_n={
                "model": held.nll_n / places_n,
                "model_free": held.free_nll_n / places_n,
            },
            references_n={name: nll_n / places_n for name, nll_n in beside.nll_n.items()},
            weight_n=held.places_n.astype(np.float64),
            best=beside.best,
            accuracy={
                "model": held.accuracy,
                "hidden": None if np.isnan(held.hidden_accuracy) else held.hidden_accuracy,
                **beside.accuracy,
            },
            bits_per_gene=held.bits_per_gene,
            more={
                "free_perplexity": held.free_perplexity,
                "hidden_perplexity": None if np.isnan(hidden) else hidden,
                "places": int(held.places_n.sum()),
                "reference_settings": beside.chosen,
            },
        )

    def units(self, part: str) -> NDArray[np.str_]:
        return self.units_n[self.rows[part]]

    def examples(self, model: Any) -> dict[str, Any]:
        one = masked_batch(
            self.sources["val"],
            np.array([0]),
            self.settings.rank_rule,
            self.vocabulary,
            VALIDATION_EPOCH,
            self.settings.seed,
        )
        label = {int(i): name for name, i in self.vocabulary.special.items()}
        genes = zip(self.vocabulary.token_ids_g.tolist(), self.vocabulary.symbols, strict=True)
        label |= {token: str(symbol) for token, symbol in genes}
        first = 0 if self.vocabulary.cls_id is None else 1
        rows = [
            {
                "rank": int(place) + 1 - first,
                "shown": label[shown],
                "true_gene": label[truth],
                "top": [[label.get(v, str(v)), round(p, 4)] for v, p in top],
            }
            for place, (truth, shown, top) in zip(
                one.targets_m, example(model.encoder, one), strict=True
            )
        ]
        return {"cell": str(self.names[self.rows["val"][0]]), "part": "val", "rows": rows}

    @cached_property
    def _val_references(self) -> RankReferences:
        return self._references("val")

    def _references(self, part: str) -> RankReferences:
        return rank_references(
            self.sources["train"],
            self.sources[part],
            self.settings.rank_rule,
            self.vocabulary,
            self.settings.seed,
        )


def _built(shape: RankShape, log_frequencies_v: Tensor, seed: int) -> nn.Module:
    return MaskedRankModel(build_rank_encoder(shape, log_frequencies_v, seed))


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
    rows = _with_genes(rows, lengths_n, tokenizer.vocabulary_, names)
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
    return _task(
        settings, chosen, tokenizer, sources, rows, names, subject.obs, present_g, hashes, facts,
        checks,
    )  # fmt: skip


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
    rows = _with_genes(
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
    return _task(
        settings, chosen, tokenizer, sources, rows, names, subject.obs, present_g, hashes, facts, []
    )


def _task(
    settings: PretrainSettings,
    chosen: Split,
    tokenizer: RankedTokenizer,
    sources: dict[str, RankSource],
    rows: dict[str, NDArray[np.int64]],
    names: NDArray[np.str_],
    obs: pd.DataFrame,
    present_g: NDArray[np.bool_],
    hashes: NDArray[np.uint64],
    facts: dict[str, Any],
    checks: list[Check],
) -> RanksTask:
    cut = facts["cells_cut"]
    if cut:
        log.info(
            "%s of %s cells fill all %s tokens: what ranks lower there is not seen",
            f"{cut:,}",
            f"{facts['n_obs']:,}",
            f"{tokenizer.limit:,}",
        )
    part_of = np.full(len(names), "", dtype="<U5")
    for part, at in rows.items():
        part_of[at] = part
    listed = part_of != ""
    return RanksTask(
        settings=settings,
        chosen=chosen,
        # As the run will be used, whatever columns these cells have.
        tokenizer=RankedTokenizer(
            tokenizer.vocabulary_,
            max_tokens=tokenizer.limit,
            sort_dtype=tokenizer.sort_dtype,
            target_sum=tokenizer.target_sum,
        ),
        sources=sources,
        rows=rows,
        names=names,
        units_n=units_of(obs, chosen.by, names),
        present_g=present_g,
        fitted=FittedCells(names[listed], part_of[listed], hashes[listed]),
        facts=facts,
        checks=checks,
    )


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


def _with_genes(
    rows: dict[str, NDArray[np.int64]],
    lengths_n: NDArray[np.int64],
    vocabulary: RankVocabulary,
    names: NDArray[np.str_],
) -> dict[str, NDArray[np.int64]]:
    """The cells of each part that have a gene of the vocabulary."""
    special = 0 if vocabulary.cls_id is None else 2
    empty = np.flatnonzero(lengths_n <= special)
    if empty.size:
        log.warning(
            "%d cells have no gene of the vocabulary and are left out, %s first",
            empty.size,
            names[empty[0]],
        )
    kept = {part: at[lengths_n[at] > special] for part, at in rows.items()}
    for part in ("train", "val"):
        if not kept[part].size:
            raise DataError(
                f"not one of the {len(rows[part])} {part} cells has a gene of the vocabulary"
            )
    return kept


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
