"""The cells of a reverse run: which conditions train, stop and test, and which cells are kept back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.genes import GeneNames, gene_names
from cellwright.data.hashes import cell_hashes, fingerprint
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError, SettingsError
from cellwright.interfaces import Check
from cellwright.perturbation.gene_knowledge import GeneKnowledge
from cellwright.perturbation.queries import control_means
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_audit import Visibility, control_spread, visibilities
from cellwright.perturbation.reverse_cell_splits import CELL_SPLITS, SAME_GENES
from cellwright.perturbation.reverse_splits import named_splits, read_split
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.reverse_encoder import EncoderStart
from cellwright.training.reverse_groups import ReverseCells
from cellwright.workflows.reverse_dependence_check import check_network
from cellwright.workflows.reverse_encoder import read_encoder, refuse_pretrained, seen_check
from cellwright.workflows.reverse_knowledge import read_knowledge
from cellwright.workflows.reverse_networks import USE_KNOWLEDGE, network_cells
from cellwright.workflows.reverse_screen import read_aliases, read_candidates, screen_of, values_of
from cellwright.workflows.reverse_train_settings import EVERYTHING, ReverseTrainSettings
from cellwright.workflows.subject import Subject

FEWEST_DOUBLES = 4


@dataclass(frozen=True)
class Sides:
    """Conditions by name that train, stop and test; strata: of test conditions, genes seen alone."""

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    strata: dict[str, int]

    def to_dict(self, candidates: tuple[str, ...]) -> dict[str, Any]:
        """As a split file, with the hash of what is on which side and of what may be named."""
        lists = {f"{p}_conditions": list(getattr(self, p)) for p in ("train", "val", "test")}
        hashed = json.dumps({**lists, "candidates": candidates}, sort_keys=True)
        digest = hashlib.sha256(hashed.encode()).hexdigest()
        return {"name": self.name, **lists, "hash": digest}


@dataclass(frozen=True)
class TrainTask:
    """Everything a run is trained on and judged by.

    screen: all cells; trained: without the cells kept back (held); view: which genes may be looked
    at; cells: what the network sees; controls, sd_g: of all genes; encoder: pretrained, for the
    genes that may be looked at; seen: whether pretraining saw test cells.
    """

    expression_ng: sp.csr_matrix
    genes: GeneNames
    vocabulary: Vocabulary
    screen: Screen
    trained: Screen
    held: Screen
    sides: Sides
    view: Visibility
    audit: Visibility
    cells: ReverseCells
    controls: dict[str, NDArray[np.float64]]
    sd_g: NDArray[np.float64]
    knowledge: GeneKnowledge | None
    encoder: EncoderStart | None
    seen: Check | None
    dependence: Check
    notes: tuple[str, ...]
    facts: dict[str, Any]


def train_task(
    source: AnnData | Path | str,
    settings: ReverseTrainSettings,
    *,
    aliases: Any = None,
    candidates: Any = None,
    leave_out: tuple[str, ...] = (),
    layer: str | None = None,
    assume_counts: bool = False,
) -> TrainTask:
    """Read a screen, divide its conditions and keep cells of the training conditions back.

    Raises
    ------
    DataError, SettingsError
        If there is no screen in the cells, or the split cannot be made of it.
    """
    refuse_pretrained((settings.kind,), settings.pretrained)
    adata = read_cells(source)
    vocabulary = Vocabulary.from_var(adata.var)
    counts = counts_of(adata, layer=layer, assume_counts=assume_counts)
    counts = vocabulary.take(counts, vocabulary.align(adata.var))
    subject = Subject(adata, counts, assume_counts)
    old_to_new = read_aliases(aliases)
    screen = screen_of(
        subject,
        settings.perturbation,
        leave_out,
        control=settings.control,
        separator=settings.separator,
        aliases=old_to_new,
        candidates=read_candidates(candidates),
        batch=settings.batch,
        guide=settings.guide,
        context=settings.context,
        min_cells=settings.min_cells,
    )
    screen, sides, said = _divided(screen, settings, old_to_new)
    trained, held = kept_back(
        screen, sides.train, share=settings.held_out, k=settings.k, seed=settings.seed
    )
    var = pd.DataFrame({"gene_symbol": vocabulary.symbols}, index=vocabulary.gene_ids)
    genes = gene_names(var)
    visible, hidden = visibilities(screen, genes)
    view = hidden if settings.own_genes == "hidden" else visible
    if not view.possible:
        raise DataError(f"{view.sentence} To train on them all the same, use --own-genes visible.")
    expression = values_of(counts, settings.values)
    said_of_genes: tuple[str, ...] = ()

    def kept_of(other: Screen) -> NDArray[np.bool_]:
        return visibilities(other, genes)[settings.own_genes == "hidden"].kept_g

    def knowledge_of(other: Screen) -> GeneKnowledge | None:
        nonlocal said_of_genes
        if not settings.knowledge:
            return None
        whole, said_of_genes = read_knowledge(
            settings.knowledge,
            genes,
            other.candidates,
            var if len(vocabulary) != adata.n_vars else adata.var,
            gene_table=settings.gene_table,
            build=settings.build,
        )
        return whole.only(kept_of(other))

    knowledge = knowledge_of(screen)
    if knowledge is not None and settings.kind not in USE_KNOWLEDGE:
        said_of_genes += (
            f"A network of the kind {settings.kind} makes no use of gene knowledge; those that do "
            f"are {' and '.join(USE_KNOWLEDGE)}.",
        )
    whole: EncoderStart | None = None
    said_of_encoder: tuple[str, ...] = ()
    if settings.pretrained is not None:
        whole, said_of_encoder = read_encoder(settings.pretrained, var)
    cells = network_cells(expression, trained, sides.train, sides.val, kept_g=view.kept_g)
    dependence = check_network(
        expression,
        trained,
        sides.train,
        sides.val,
        cells,
        settings.network,
        knowledge,
        kept_of=kept_of,
        knowledge_of=knowledge_of,
        encoder=whole,
    )
    codes = {part: [screen.index(n) for n in getattr(sides, part)] for part in ("train", "val", "test")}  # fmt: skip
    facts = {
        "fingerprint": fingerprint(adata, cell_hashes(counts)),
        "n_obs": int(adata.n_obs),
        "n_vars": int(adata.n_vars),
        "genes": len(vocabulary),
        "candidates": len(screen.candidates),
        "conditions": {part: len(found) for part, found in codes.items()},
        "cells": {
            "control": len(screen.control_rows),
            "train": int(np.isin(trained.condition_n, codes["train"]).sum()),
            "kept back": int(np.isin(held.condition_n, codes["train"]).sum()),
            "val": int(np.isin(screen.condition_n, codes["val"]).sum()),
            "test": int(np.isin(screen.condition_n, codes["test"]).sum()),
        },
        "split": sides.to_dict(screen.candidates),
    }
    return TrainTask(
        expression_ng=expression,
        genes=genes,
        vocabulary=vocabulary,
        screen=screen,
        trained=trained,
        held=held,
        sides=sides,
        view=view,
        audit=hidden,
        cells=cells,
        controls=control_means(expression, trained),
        sd_g=control_spread(expression, trained),
        knowledge=knowledge,
        encoder=None if whole is None else whole.only(view.kept_g),
        seen=_seen(settings, adata, screen, codes["test"], layer, assume_counts),
        dependence=dependence,
        notes=(*screen.notes, *said, *said_of_genes, *said_of_encoder),
        facts=facts,
    )


def _seen(
    settings: ReverseTrainSettings,
    adata: AnnData,
    screen: Screen,
    test: list[int],
    layer: str | None,
    assume_counts: bool,
) -> Check | None:
    """Whether pretraining saw cells of test conditions; None without a pretrained run or a test."""
    if settings.pretrained is None or not test:
        return None
    test_n = np.isin(screen.condition_n, test)
    return seen_check(settings.pretrained, adata, test_n, layer=layer, assume_counts=assume_counts)


def kept_back(
    screen: Screen, conditions: tuple[str, ...], *, share: float, k: int, seed: int
) -> tuple[Screen, Screen]:
    """The screen without some cells of each condition, and with those only; controls in both.

    Of n cells the share is kept back, or k where that is more, but never above a quarter; a share
    of 0 keeps nothing.
    """
    held = np.zeros(len(screen.condition_n), dtype=bool)
    for name in conditions if share > 0 else ():
        code = screen.index(name)
        rows = screen.rows_of(code)
        number = min(len(rows) // 4, max(round(share * len(rows)), k))
        held[np.random.default_rng([seed, code]).permutation(rows)[:number]] = True
    kept = held | (screen.condition_n == -1)
    return (
        replace(screen, condition_n=np.where(held, -2, screen.condition_n)),
        replace(screen, condition_n=np.where(kept, screen.condition_n, -2)),
    )


def _divided(
    screen: Screen, settings: ReverseTrainSettings, aliases: dict[str, str]
) -> tuple[Screen, Sides, tuple[str, ...]]:
    """The screen, with held-out cells as conditions of their own where cells are held out, and its sides."""
    name = settings.split
    said: tuple[str, ...] = ()
    if name == "auto":
        name = "ahlmann-eltze-2025" if len(screen.doubles) >= FEWEST_DOUBLES else EVERYTHING
        if name == EVERYTHING:
            said = (
                f"{len(screen.doubles)} double perturbations are too few to hold some out, so that "
                "every perturbation trains: nothing is known of how well unseen ones are found.",
            )
    if name == EVERYTHING:
        return screen, Sides(EVERYTHING, screen.conditions, (), (), {}), said
    if name.endswith(".json"):
        split, absent = read_split(Path(name), screen, aliases=aliases)
        if absent:
            said = (f"{len(absent)} conditions of {Path(name).name} are not in the data.",)
    elif name in CELL_SPLITS:
        screen, split = CELL_SPLITS[name](screen, settings.partition)
        said = (SAME_GENES[name],)
    else:
        splits = named_splits(screen, name, settings.partition)
        if len(splits) > 1 and settings.partition >= len(splits):
            raise SettingsError(
                f"partition is {settings.partition}, but {name} has {len(splits)} of them here, "
                "counted from 0"
            )
        split = splits[settings.partition] if len(splits) > 1 else splits[0]
    return screen, Sides(split.name, split.train, split.val, split.test, dict(split.strata)), said
