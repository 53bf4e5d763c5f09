"""Shortcuts of the reverse problem: own transcripts, their rival without training, other guides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.genes import GeneNames
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.queries import Queries
from cellwright.perturbation.reverse import Screen

LEAST_GENES = 50
FLOOR = 0.25

ScreenKind = Literal["activation", "interference"]
SCREEN_KINDS: tuple[ScreenKind, ...] = ("activation", "interference")


@dataclass(frozen=True)
class Visibility:
    """Which measured genes methods may look at.

    name: ``visible`` (all) or ``hidden`` (no candidate's own gene, in any query); kept_g: True for
    genes that stay; hidden: how many do not; possible: whether enough stay to ask the question;
    sentence: what a reader must know, or "".
    """

    name: str
    kept_g: NDArray[np.bool_]
    hidden: int
    possible: bool = True
    sentence: str = ""


def own_columns(candidates: Sequence[str], genes: GeneNames) -> NDArray[np.int64]:
    """Column of each candidate's own gene, by symbol or id, (c,); -1 where it is not measured."""
    place: dict[str, int] = {}
    for names in (genes.gene_symbol.tolist(), genes.gene_id.tolist()):
        for column, name in enumerate(names):
            place.setdefault(name, column)
    return np.array([place.get(c, -1) for c in candidates], dtype=np.int64)


def visibilities(
    screen: Screen, genes: GeneNames, *, near_g: NDArray[np.bool_] | None = None
) -> tuple[Visibility, Visibility]:
    """All genes visible, and all candidates' own genes hidden: the same columns for every query.

    Parameters
    ----------
    near_g
        Genes to hide besides, such as those within 10 kb of a candidate.
    """
    own = set(screen.candidates)
    is_own = [
        s in own or i in own
        for s, i in zip(genes.gene_symbol.tolist(), genes.gene_id.tolist(), strict=True)
    ]
    hide_g = np.array(is_own, dtype=bool)
    own_hidden = int(hide_g.sum())
    if near_g is not None:
        hide_g |= near_g
    left = int((~hide_g).sum())
    beside = f" and {int(hide_g.sum()) - own_hidden} near one" if near_g is not None else ""
    if left < LEAST_GENES:
        sentence = (
            f"The shortcut audit is impossible on this panel: {own_hidden} of its {len(hide_g)} "
            f"genes are candidates' own{beside}, and without them {left} remain, fewer than "
            f"{LEAST_GENES}; what the scores owe to the targets' own transcripts cannot be told."
        )
    elif not hide_g.any():
        sentence = (
            "No candidate's own gene is measured: nothing had to be hidden, and no score can come "
            "from a target's own transcript."
        )
    else:
        sentence = (
            f"Hidden from every query: {own_hidden} of {len(hide_g)} measured genes, which are "
            f"candidates' own{beside}."
        )
    everything = Visibility("visible", np.ones(len(hide_g), dtype=bool), 0)
    hidden = Visibility("hidden", ~hide_g, int(hide_g.sum()), left >= LEAST_GENES, sentence)
    return everything, hidden


def only_genes(queries: Queries, kept_g: NDArray[np.bool_]) -> Queries:
    """The same queries without the columns that are not kept."""
    return replace(
        queries, mean_qg=queries.mean_qg[:, kept_g], shift_qg=queries.shift_qg[:, kept_g]
    )


def control_spread(expression_ng: Any, screen: Screen) -> NDArray[np.float64]:
    """Standard deviation of each gene over control cells within their batches, (g,).

    Raises
    ------
    DataError
        If no batch has two control cells.
    """
    square_g = np.zeros(expression_ng.shape[1])
    freedom = 0
    for batch in np.unique(screen.batch_n[screen.control_rows]):
        rows = screen.control_rows[screen.batch_n[screen.control_rows] == batch]
        x = expression_ng[rows]
        x = x.toarray() if sp.issparse(x) else np.asarray(x)
        square_g += ((x - x.mean(axis=0, dtype=np.float64)) ** 2).sum(axis=0)
        freedom += len(rows) - 1
    if freedom < 1:
        raise DataError(
            "no batch has two control cells, so that the spread of genes cannot be measured; "
            "match controls over all cells instead of within batches"
        )
    # Rounding in a gene that never varies is no variance.
    return np.where(square_g < 1e-9, 0.0, np.sqrt(square_g / freedom))


def own_z(
    queries: Queries, own_c: NDArray[np.int64], sd_g: NDArray[np.float64], kind: ScreenKind
) -> NDArray[np.float64]:
    """Each candidate's own shift in standard deviations of control cells, (q, c); needs no training.

    Up counts for activation, down for interference. Standard deviations are floored at a quarter
    of the median over genes that vary. -inf for candidates that are not measured or do not vary in
    controls.
    """
    if kind not in SCREEN_KINDS:
        raise SettingsError(
            f"the kind of screen is {kind!r}, expected one of {', '.join(SCREEN_KINDS)}"
        )
    score = np.full((len(queries), len(own_c)), -np.inf)
    varies = sd_g > 0
    usable = np.flatnonzero((own_c >= 0) & varies[own_c])
    if len(usable):
        floored_g = np.maximum(sd_g, FLOOR * float(np.median(sd_g[varies])))
        sign = 1.0 if kind == "activation" else -1.0
        score[:, usable] = sign * queries.shift_qg[:, own_c[usable]] / floored_g[own_c[usable]]
    return score


def screen_kind(
    whole: Queries, screen: Screen, own_c: NDArray[np.int64], sd_g: NDArray[np.float64]
) -> tuple[ScreenKind, int]:
    """Whether targets go up or down in conditions that may be looked at, and how many showed it.

    Most targets decide; without a measured one it is taken for activation.
    """
    signs = [
        np.sign(whole.shift_qg[q, own_c[c]])
        for q, code in enumerate(whole.condition_q)
        for c in np.flatnonzero(screen.targets_pc[code])
        if own_c[c] >= 0 and sd_g[own_c[c]] > 0
    ]
    return ("interference" if sum(signs) < 0 else "activation"), len(signs)
