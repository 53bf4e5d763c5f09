"""Reverse benchmark: which gene was perturbed, asked of every baseline under the same conditions."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from cellwright.config import to_dict
from cellwright.data.atomic import refuse_existing
from cellwright.data.gene_sets import read_gmt
from cellwright.data.genes import GeneNames, gene_names
from cellwright.data.hashes import fingerprint
from cellwright.errors import MissingExtra, SettingsError
from cellwright.interfaces import Check
from cellwright.perturbation.gene_positions import gene_positions
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_audit import SCREEN_KINDS, Visibility, visibilities
from cellwright.workflows.provenance import provenance
from cellwright.workflows.reverse_benchmark_networks import (
    Answers,
    check_names,
    network_settings,
    plan_networks,
)
from cellwright.workflows.reverse_benchmark_parts import Part, parts_of
from cellwright.workflows.reverse_benchmark_pathways import pathways_of
from cellwright.workflows.reverse_benchmark_result import ReverseBenchmark
from cellwright.workflows.reverse_benchmark_runs import RANDOM_GROUPS, Asked, Exam, answer_part
from cellwright.workflows.reverse_benchmark_scores import judge_all
from cellwright.workflows.reverse_encoder import read_encoder, refuse_pretrained, seen_check
from cellwright.workflows.reverse_screen import (
    read_aliases,
    read_candidates,
    refuse_values,
    screen_of,
    values_of,
)
from cellwright.workflows.sizes import read_sizes
from cellwright.workflows.subject import Subject, read_subject

log = logging.getLogger("cellwright.workflows.reverse_benchmark")


def reverse_benchmark(
    source: AnnData | Path | str,
    *,
    split: str | Path = "leave-one-double-out",
    k: Sequence[int | str] | str = (1, 5, 20, "all"),
    methods: Sequence[str] | None = None,
    perturbation: str | None = None,
    control: str | None = None,
    separator: str = "+",
    aliases: Mapping[str, str] | Path | str | None = None,
    candidates: Sequence[str] | Path | str | None = None,
    leave_out: Sequence[str] = (),
    batch: str | None = None,
    guide: str | None = None,
    context: str | None = None,
    min_cells: int = 2,
    partitions: int | None = None,
    kind: str = "auto",
    gene_table: Path | str | None = None,
    build: str = "GRCh38",
    hide_within: int | None = None,
    values: str = "log",
    most: int = 50,
    permutations: int = 2000,
    network: Mapping[str, Any] | None = None,
    knowledge: Sequence[str] = (),
    gene_sets: Path | str | None = None,
    pretrained: Path | str | None = None,
    freeze_layers: int | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    seed: int = 0,
    out: Path | str | None = None,
    force: bool = False,
) -> ReverseBenchmark:
    """Rank the genes that may have been perturbed, by every baseline, with the shortcut audit.

    Each method is fitted on training conditions alone and asked about groups of k cells of test
    conditions, once with all genes visible and once without any candidate's own gene. Scores are
    means over perturbations with 95 % intervals over them and chance in closed form. Groups drawn
    at random over all conditions must score at chance.

    Parameters
    ----------
    source
        AnnData (left as it is) or the path of an h5ad, with raw counts.
    split
        ``leave-one-double-out``, ``ahlmann-eltze-2025``, ``mambaperturb-2025``,
        ``unseen-singles``, ``guides-held-out`` and ``contexts-held-out`` (same genes, other guides or
        another cell type, dataset or treatment), or a split file (JSON).
    k
        Cells in a query; ``all`` for all cells of a condition. Numbers, or text with commas.
    methods
        Default all of :data:`METHODS`; the networks (``mlp``, ``attention``, ``multi-head``,
        ``graph``, ``cross-attention``, ``encoder``) are asked for by name. ``encoder`` is a
        pretrained run fine-tuned; the same network from random weights, ``encoder-untrained``,
        stands beside it.
    perturbation, control, separator, batch, guide, context, min_cells
        As in :func:`cellwright.perturbation.reverse.read_screen`.
    aliases
        Old symbols to new ones, or a table whose first two columns are these.
    candidates
        Genes that may be the answer, or a file with one a line; default those perturbed.
    leave_out
        Values of the perturbation column whose cells take no part.
    partitions
        Seeds of a random split; default 5 (``mambaperturb-2025``: 1; guides: 2).
    kind
        ``activation``, ``interference``, or ``auto``: as most training targets went.
    gene_table, build, hide_within
        Coordinates; genes within so many base pairs of a candidate are hidden with it.
    values
        Queries are means of the ``log`` of normalized counts, or of the ``root`` of counts.
    most
        Queries of a condition, at most.
    permutations
        Permutations of truths over test perturbations, for p; 0 leaves it out.
    network
        Settings of networks
        (:class:`~cellwright.training.reverse_settings.NetworkSettings`), such as ``epochs``.
    knowledge
        Sources of gene knowledge for networks that use some
        (:func:`~cellwright.workflows.reverse_knowledge.read_knowledge`).
    pretrained, freeze_layers
        The run that ``encoder`` is made of, and how many of its lowest layers stay as they are.
    gene_sets
        A GMT file: which pathway the wrongly named genes are of.
    layer, assume_counts
        Where the counts are.
    out, force
        Folder to write (None writes nothing); replace it if it exists.

    Raises
    ------
    DataError, SettingsError, RunError
        If there is no screen in the data, a setting cannot work, or ``out`` exists.
    """
    started = time.perf_counter()
    if out is not None:
        refuse_existing(out, force=force)
    sizes = read_sizes(k, "k")
    wanted = check_names(methods)
    sets = None if gene_sets is None else read_gmt(gene_sets)
    given: dict[str, Any] = {"pretrained": None if pretrained is None else str(pretrained)}
    given |= {"freeze_layers": freeze_layers}
    asked_for = {k: v for k, v in given.items() if v is not None}
    of_networks = network_settings({**(network or {}), **asked_for}, seed)
    refuse_pretrained(wanted, of_networks.pretrained)
    refuse_values(values, of_networks.pretrained)
    if kind not in ("auto", *SCREEN_KINDS):
        raise SettingsError(f"kind is {kind!r}, expected auto, {' or '.join(SCREEN_KINDS)}")
    for name, number, least in (("most", most, 1), ("permutations", permutations, 0)):
        if number < least:
            raise SettingsError(f"{name} is {number}, expected {least} or more")
    subject = read_subject(source, layer=layer, assume_counts=assume_counts)
    old_to_new = read_aliases(aliases)
    screen = screen_of(
        subject,
        perturbation,
        leave_out,
        control=control,
        separator=separator,
        aliases=old_to_new,
        candidates=read_candidates(candidates),
        batch=batch,
        guide=guide,
        context=context,
        min_cells=min_cells,
    )
    genes = gene_names(subject.cells.var)

    def seen_by(other: Screen) -> tuple[Visibility, Visibility]:
        near_g = _near(other, genes, gene_table, build, hide_within)
        return visibilities(other, genes, near_g=near_g)

    views = seen_by(screen)
    plan, known = plan_networks(
        of_networks,
        knowledge,
        screen,
        genes,
        subject.cells.var,
        kept_of=lambda other, name: next(v.kept_g for v in seen_by(other) if v.name == name),
        gene_table=gene_table,
        build=build,
    )
    parts, part_notes = parts_of(screen, split, partitions, seed, old_to_new)
    seen: list[Check] = []
    if of_networks.pretrained is not None:
        encoder, about = read_encoder(of_networks.pretrained, subject.cells.var)
        plan, known = replace(plan, encoder=encoder), (*known, *about)
        seen = [_seen(of_networks.pretrained, subject, parts, layer)]
    missing: list[str] = []
    if "xgboost" in wanted and len(wanted) > 1:
        wanted, missing = _installed(wanted)
    drawn = max(20, -(-RANDOM_GROUPS // len(parts)))
    expression = values_of(subject.counts_ng, values)
    exam = Exam(expression, screen, genes, wanted, sizes, kind, most, seed, drawn, plan)
    shown = [view for view in views if view.possible]
    asked: list[Asked] = []
    answers = Answers()
    for number, part in enumerate(parts):
        start = time.perf_counter()
        asked += answer_part(exam, part, shown, number, answers)
        log.info(
            "%s (%d of %d): %.1f s", part.name, number + 1, len(parts), time.perf_counter() - start
        )
    found = judge_all(asked, exam, str(split), permutations=permutations)
    pathways = {} if sets is None else pathways_of(asked, screen, found.headline, sets, seed=seed)
    checks = [*_audit(views), *seen, *found.checks, *answers.checks.values()]
    result = ReverseBenchmark(
        split=parts[0].design,
        screen=screen,
        table=found.table,
        random=found.random,
        own=found.own,
        headline=found.headline,
        scores=found.scores,
        checks=tuple(checks),
        sentences=(
            *found.sentences,
            *_of_values(values),
            *screen.notes,
            *part_notes,
            *missing,
            *known,
        ),
        settings={
            "split": str(split),
            "k": ["all" if size is None else size for size in sizes],
            "methods": list(wanted),
            "candidates": len(screen.candidates),
            "perturbations": len(screen.conditions),
            "test": sorted(
                {p.screen.genes_named(p.screen.index(n)) for p in parts for n in p.test}
            ),
            "partitions": len(parts),
            "kind": kind,
            "batch": batch,
            "guide": guide,
            "context": context,
            "most": most,
            "hide_within": hide_within,
            "hidden_genes": views[1].hidden,
            "hidden_possible": views[1].possible,
            "seed": seed,
            "permutations": permutations,
            "network": to_dict(of_networks) if answers.checks else None,
            "knowledge": [Path(spec).name for spec in knowledge],
        },
        provenance=_provenance(subject, seed, started),
        folder=None if out is None else Path(out),
        curves=pd.DataFrame(answers.curves),
        pathways=pathways,
    )
    if out is not None:
        result.write(Path(out), force=force)
    return result


def _seen(path: str, subject: Subject, parts: Sequence[Part], layer: str | None) -> Check:
    """Whether pretraining saw cells of a partition's test conditions."""
    test = np.zeros(subject.cells.n_obs, dtype=bool)
    for part in parts:
        codes = [part.screen.index(name) for name in part.test]
        test |= np.isin(part.screen.condition_n, codes)
    return seen_check(path, subject.cells, test, layer=layer, assume_counts=subject.assume_counts)


def _of_values(values: str) -> tuple[str, ...]:
    if values == "log":
        return ()
    return ("Queries are means of square roots of counts, for every method.",)


def _near(
    screen: Screen,
    genes: GeneNames,
    table: Path | str | None,
    build: str,
    within: int | None,
) -> Any:
    if within is None:
        return None
    if within < 0:
        raise SettingsError(f"hide_within is {within}, expected base pairs, 0 or more")
    if table is None:
        raise SettingsError(
            "genes near candidates can be hidden only with their coordinates: give --gene-table"
        )
    measured = gene_positions(genes.surest_g.tolist(), table, build=build)
    return measured.near(gene_positions(screen.candidates, table, build=build), within)


def _installed(wanted: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Without xgboost the others are compared all the same, and it is said."""
    if importlib.util.find_spec("xgboost") is not None:
        return wanted, []
    missing = MissingExtra("xgboost", "xgboost", "the method xgboost")
    return tuple(name for name in wanted if name != "xgboost"), [f"Left out: {missing}."]


def _audit(views: Sequence[Visibility]) -> list[Check]:
    hidden = views[1]
    severity = "note" if hidden.possible else "warning"
    remedy = "" if hidden.possible else "measure more genes than the targets"
    return [Check("own_transcripts", severity, hidden.sentence, remedy)]  # type: ignore[arg-type]


def _provenance(subject: Subject, seed: int, started: float) -> dict[str, Any]:
    data = {
        "n_obs": subject.cells.n_obs,
        "n_vars": subject.cells.n_vars,
        "fingerprint": fingerprint(subject.cells, subject.counts_ng),
    }
    out = provenance(seed, data)
    out["seconds"] = float(np.round(time.perf_counter() - started, 1))
    return out
