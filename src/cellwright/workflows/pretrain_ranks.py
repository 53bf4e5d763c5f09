"""Pretraining on masked ranks: the objective, its references and what the model is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellwright.data.split import Split
from cellwright.errors import DataError
from cellwright.interfaces import Check
from cellwright.models.build import build_rank_encoder, rank_shape
from cellwright.models.rank_encoder import RankShape
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer
from cellwright.training.batches import VALIDATION_EPOCH
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.masked_ranks import MaskedRankModel, MaskedRanks, example
from cellwright.training.rank_references import RankReferences, rank_references
from cellwright.training.ranked_batches import RankSource, masked_batch
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain_cells import units_of
from cellwright.workflows.pretrain_task import Scored

log = logging.getLogger(__name__)

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


def ranks_task(
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
    """The task of cells that are split and ranked: ``rows`` and ``sources`` per part, ``names``,
    ``obs`` and ``hashes`` of all cells, ``facts`` for the run's metrics."""
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


def with_genes(
    rows: dict[str, NDArray[np.int64]],
    lengths_n: NDArray[np.int64],
    vocabulary: RankVocabulary,
    names: NDArray[np.str_],
) -> dict[str, NDArray[np.int64]]:
    """The cells of each part that have a gene of the vocabulary.

    Raises
    ------
    DataError
        If none is left to train on, or to validate on.
    """
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
