"""Of which pathways the wrongly named genes of a benchmark are, for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cellwright.evaluation.target_confusion import PathwayConfusion, pathway_confusion
from cellwright.perturbation.reverse import Screen
from cellwright.workflows.reverse_benchmark_findings import size_word
from cellwright.workflows.reverse_benchmark_runs import Asked
from cellwright.workflows.reverse_benchmark_thresholds import targets_of


def pathways_of(
    asked: Sequence[Asked],
    screen: Screen,
    headline: tuple[str, str],
    sets: Mapping[str, Sequence[str]],
    *,
    seed: int,
) -> dict[str, PathwayConfusion]:
    """Confusion by pathway of each method, of the genes and the size of query that findings are about.

    Raises
    ------
    DataError
        If no set holds two candidates.
    """
    shown = [a for a in asked if not a.drawn and (a.genes, size_word(a.k)) == headline]
    found = {}
    for method in dict.fromkeys(a.method for a in shown):
        parts = [a for a in shown if a.method == method]
        unit_q = np.concatenate([a.unit_q for a in parts])
        found[method] = pathway_confusion(
            np.vstack([a.score_qc for a in parts]),
            targets_of(unit_q, screen),
            unit_q,
            screen.candidates,
            sets,
            seed=seed,
        )
    return found


def pathway_table(found: Mapping[str, PathwayConfusion]) -> pd.DataFrame:
    """A row per method: missed genes, and the share of their stand-ins that share a pathway."""
    rows = [{"method": name, **confusion.to_dict()} for name, confusion in found.items()]
    return pd.DataFrame(rows, columns=["method", "missed", "alike", "low", "high", "chance"])
