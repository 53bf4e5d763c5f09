"""What pretraining asks of the cells it learns from, whether they are bins or ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cellwright.data.split import Split
from cellwright.interfaces import Check
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.objective import Objective


@dataclass(frozen=True)
class Scored:
    """How well held-out cells were told by the networks and by what needs none.

    networks_n, references_n: name -> (n,) mean negative log likelihood (nats) of each cell, the
    network judged under ``model``; weight_n: (n,) masked places of each cell, None where all have
    as many; best: name of the best reference; accuracy: shares of masked places told right;
    bits_per_gene: the model's loss in bits; more: further entries of ``metrics.json``.
    """

    networks_n: Mapping[str, NDArray[np.float64]]
    references_n: Mapping[str, NDArray[np.float64]]
    weight_n: NDArray[np.float64] | None
    best: str
    accuracy: dict[str, float | None]
    bits_per_gene: float
    more: dict[str, Any] = field(default_factory=dict)


class PretrainTask(Protocol):
    """Cells of a run in tokens, with what was fitted on its training cells.

    name: of the task in scores; vocabulary: genes, with ``save(path)``; fitted: which cell was used
    for what; facts: the data in ``provenance.json``; rule: bins or ranks, mask and genes in words;
    counts: cells per part; checks: what was found amiss with the data.
    """

    @property
    def name(self) -> str: ...
    @property
    def chosen(self) -> Split: ...
    @property
    def vocabulary(self) -> Any: ...
    @property
    def fitted(self) -> FittedCells: ...
    @property
    def facts(self) -> dict[str, Any]: ...
    @property
    def rule(self) -> dict[str, Any]: ...
    @property
    def counts(self) -> dict[str, int]: ...
    @property
    def checks(self) -> list[Check]: ...
    @property
    def objective(self) -> Objective: ...

    def tokenizer_state(self) -> dict[str, NDArray[Any]]:
        """The tokenizer as plain arrays."""
        ...

    def builder(self) -> Callable[[], nn.Module]:
        """What builds the network that training starts from; it survives pickling."""
        ...

    def reference_columns(self) -> dict[str, float]:
        """The references on validation cells, as columns of the history."""
        ...

    def weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is kept of a network's state."""
        ...

    def scored(self, model: Any, part: str) -> Scored:
        """The network and the references on the cells of a part."""
        ...

    def units(self, part: str) -> NDArray[np.str_]:
        """The group of each cell of a part, which intervals resample."""
        ...

    def examples(self, model: Any) -> dict[str, Any]:
        """The masked places of one validation cell, for ``examples.json``."""
        ...
