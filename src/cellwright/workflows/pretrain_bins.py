"""Pretraining on masked bins: the objective, its references, and what is measured of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellwright.data.split import Split
from cellwright.interfaces import Check
from cellwright.models.build import build_encoder
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.batches import VALIDATION_EPOCH, validation_batches
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.masked_bins import MaskedBins, example, measure
from cellwright.training.references import References
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain_cells import RunCells, references_on
from cellwright.workflows.pretrain_task import Scored


@dataclass(frozen=True)
class BinsTask:
    """Masked bins as a :class:`~cellwright.workflows.pretrain_task.PretrainTask`."""

    cells: RunCells
    settings: PretrainSettings

    @property
    def name(self) -> str:
        return "masked-bins"

    @property
    def chosen(self) -> Split:
        return self.cells.chosen

    @property
    def vocabulary(self) -> Vocabulary:
        return self.cells.vocabulary

    @property
    def fitted(self) -> FittedCells:
        return self.cells.fitted

    @property
    def facts(self) -> dict[str, Any]:
        return self.cells.facts

    @property
    def checks(self) -> list[Check]:
        return []

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(of) for name, of in self.cells.parts.items()}

    @property
    def rule(self) -> dict[str, Any]:
        return {
            "bins": self.cells.tokenizer.rule,
            "mask": self.settings.mask_rule.words,
            "genes": len(self.cells.vocabulary),
            "bins_in_use": int(np.sum(self.cells.tokenizer.n_bins_g)),
        }

    @property
    def objective(self) -> MaskedBins:
        return MaskedBins(
            self.cells.parts["train"],
            self.cells.parts["val"],
            self.settings.mask_rule,
            self.settings.seed,
            self.settings.val_batch_size,
        )

    def tokenizer_state(self) -> dict[str, NDArray[Any]]:
        return self.cells.tokenizer.state()

    def builder(self) -> Callable[[], nn.Module]:
        frequencies_gk = torch.from_numpy(self._val_references.log_bin_frequencies_gk)
        return partial(build_encoder, self.settings.encoder, frequencies_gk, self.settings.seed)

    def reference_columns(self) -> dict[str, float]:
        found = self._val_references
        columns = {f"ref_{name}": value for name, value in found.perplexity.items()}
        return {**columns, "ref_majority_accuracy": found.accuracy["majority"]}

    def weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(state)

    def scored(self, model: Any, part: str) -> Scored:
        batches = validation_batches(
            self.cells.parts[part],
            self.settings.mask_rule,
            batch_size=self.settings.val_batch_size,
            seed=self.settings.seed,
        )
        held = measure(model, batches, torch.device("cpu"))
        beside = (
            self._val_references
            if part == "val"
            else references_on(self.cells, part, self.settings)
        )
        return Scored(
            networks_n={"model": held.nll_n},
            references_n=beside.nll_n,
            weight_n=None,
            best=beside.best,
            accuracy={
                "model": held.accuracy,
                "zero": _number(held.zero_accuracy),
                "nonzero": _number(held.nonzero_accuracy),
                **beside.accuracy,
            },
            bits_per_gene=held.bits_per_gene,
        )

    def units(self, part: str) -> NDArray[np.str_]:
        return self.cells.units_n[self.cells.rows[part]]

    def examples(self, model: Any) -> dict[str, Any]:
        one = self.cells.parts["val"].batch(
            np.array([0]), self.settings.mask_rule, VALIDATION_EPOCH, self.settings.seed
        )
        rows = [
            {
                "gene_id": str(self.vocabulary.gene_ids[row["column"]]),
                "gene_symbol": str(self.vocabulary.symbols[row["column"]]),
                "true_bin": row["true_bin"],
                "top": row["top"],
            }
            for row in example(model, one)
        ]
        name = str(self.cells.names[self.cells.rows["val"][0]])
        return {"cell": name, "part": "val", "rows": rows}

    @cached_property
    def _val_references(self) -> References:
        return references_on(self.cells, "val", self.settings)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
