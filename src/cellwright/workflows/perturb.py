"""In-silico perturbation: edit genes of cells, embed the cells again, and judge the shifts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import refuse_existing
from cellwright.data.hashes import cell_hashes, fingerprint
from cellwright.errors import SettingsError
from cellwright.interfaces import Seen
from cellwright.perturbation.insilico import draw_plan, profile_of
from cellwright.representations.edited import EditableRanks
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.finetuned import FinetunedRun, base_of
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.geneformer_pooling import BATCH_TOKENS
from cellwright.representations.loading import load_encoder
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.workflows.perturb_cells import DrawnCells, draw_cells
from cellwright.workflows.perturb_findings import checks_of, sentences_of
from cellwright.workflows.perturb_genes import Named, read_kind, read_sets
from cellwright.workflows.perturb_goal import Direction, fit_direction
from cellwright.workflows.perturb_result import PerturbResult
from cellwright.workflows.perturb_tables import edit_table, moved_genes
from cellwright.workflows.provenance import provenance

log = logging.getLogger("cellwright.workflows.perturb")

# Edits whose effect on every other gene is kept.
WATCHED = 20


def perturb(
    run: GeneformerRun | FinetunedRun | Path | str,
    cells: AnnData | Path | str,
    *,
    delete: Named = None,
    raise_: Named = None,
    scale: Named = None,
    factor: float | None = None,
    states: str | None = None,
    goal: str | None = None,
    group: str | None = "auto",
    null: int = 100,
    cells_per_gene: int = 50,
    max_cells: int = 1000,
    min_cells: int = 10,
    vocabulary: Path | str | None = None,
    pooling: str | None = None,
    layer_of: int | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    batch_tokens: int = BATCH_TOKENS,
    device: str = "cpu",
    seed: int = 0,
    out: Path | str | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PerturbResult:
    """Delete, raise or scale genes of cells and measure how far the model's vectors move.

    A cell is embedded again only where the tokens that the model reads have changed. Each mean
    shift is set beside that of random genes which stand at a like place in as many cells, edited
    the same way; p is (b + 1) / (m + 1), q the false discovery rate over the edits asked for, and
    z, by which edits are ranked, the robust standard deviations of that null.

    Parameters
    ----------
    run
        A Geneformer checkpoint or a run on ranks, fine-tuned or not: its folder, or loaded.
    cells
        AnnData (left as it is) or a path, with counts of all genes that were measured.
    delete, raise_, scale
        Genes by id or symbol, in one of the three: one, several with commas (edited together), a
        list of either (each by itself), or ``all``, each by itself. A deleted gene leaves and the
        rest move up; a raised one goes to the front; a scaled one is ranked anew with ``factor``
        times its value.
    states, goal
        Column of ``obs`` and two of its states as ``A:B``: cells of A are edited, and the shift is
        also measured along the way from A to B (1 is the whole way), which is fitted on other
        donors or cells than those it is measured in.
    group
        Column of donors or libraries, which intervals resample where an edit has six; ``auto`` for
        donor, library or batch where there is one, None or ``none`` for cells.
    null
        Random genes (or sets) for each edit.
    cells_per_gene, max_cells
        Most cells that an edit is measured in; most cells drawn from the file (of each state). The
        memory grows with ``max_cells``, the time with the edits × ``cells_per_gene``.
    min_cells
        Genes ranked in fewer of the cells drawn are neither in ``all`` nor in a null.
    vocabulary, pooling, layer_of
        Of a checkpoint, as in :func:`cellwright.embed`.
    batch_tokens
        Most tokens that pass the model together.
    out
        Folder to write; None writes nothing.
    progress
        Called with edited cells done and to do.

    Raises
    ------
    SettingsError, DataError, RunError
        For more than one kind of edit, a gene that is unknown or ranked in no cell, an unknown
        column or state, a factor not above 0, a run that is not on ranks, an existing ``out``.
    """
    started = time.perf_counter()
    kind, names = read_kind({"delete": delete, "raise": raise_, "scale": scale}, factor)
    for name, number in (("cells_per_gene", cells_per_gene), ("max_cells", max_cells)):
        if number < 1:
            raise SettingsError(f"{name} is {number}, expected 1 or more")
    if null < 0:
        raise SettingsError(f"null is {null}, expected 0 or more")
    if out is not None:
        refuse_existing(out, force=force)
    loaded = load_encoder(run, vocabulary=vocabulary) if isinstance(run, Path | str) else run
    model = _rank_run(loaded).with_(pooling=pooling, layer_of=layer_of)
    drawn = draw_cells(
        cells,
        states=states,
        goal=goal,
        group=group,
        max_cells=max_cells,
        seed=seed,
        layer=layer,
        assume_counts=assume_counts,
    )
    editor = EditableRanks(model, device=device, batch_tokens=batch_tokens)
    coverage = model.coverage(drawn.cells, assume_counts=assume_counts)
    ranked = editor.rank(drawn.cells, drawn.counts_ng)
    rows = np.flatnonzero(drawn.edited_n)
    profile, held = profile_of(*_genes_of(*ranked.visible(), rows, model.vocabulary))
    sets, within = read_sets(names, model.vocabulary, profile, kind, min_cells=min_cells)
    direction = _direction(model, drawn, assume_counts, device, seed)
    plan = draw_plan(
        sets,
        held,
        profile,
        kind,
        cells_per_gene=cells_per_gene,
        null=null,
        min_cells=min_cells,
        seed=seed,
        within=within,
    )
    log.info(
        "%d edits and %d of random genes: %d edited cells to embed",
        plan.asked,
        len(plan.sets) - plan.asked,
        plan.edit_p.size,
    )
    tokens_g = model.vocabulary.token_ids_g
    token_sets = [tokens_g[list(genes)].tolist() for genes in plan.sets]
    shifts = editor.shifts(
        ranked,
        token_sets,
        plan.edit_p,
        rows[plan.cell_p],
        kind=kind,
        factor=factor,
        direction_nd=None if direction is None else direction.direction_nd,
        watched=min(WATCHED, 0 if within else plan.asked),
        progress=progress,
    )
    headline = "cosine" if direction is None else "toward"
    table = edit_table(plan, shifts, profile, model.vocabulary, drawn, kind, factor, headline)
    if direction is not None and not within:
        # The same edits by weights that have learned nothing: null genes need not be run for it.
        blank = replace(editor, run=model.untrained())
        there = _direction(blank.run, drawn, assume_counts, device, seed)
        asked_p = plan.edit_p < plan.asked
        edit_p = plan.edit_p[asked_p]
        toward_p = blank.shifts(
            ranked,
            token_sets,
            edit_p,
            rows[plan.cell_p[asked_p]],
            kind=kind,
            factor=factor,
            direction_nd=None if there is None else there.direction_nd,
        ).toward_p
        sum_e = np.bincount(edit_p, weights=toward_p, minlength=len(plan.sets))
        table["untrained"] = np.where(
            np.arange(len(table)) < plan.asked, sum_e / np.maximum(plan.depth_e, 1), np.nan
        )
    shown = ["cosine", "genes"] if direction is None else ["toward", "cosine", "genes", "expected"]
    # By z: the raw shift follows the place of a gene first of all.
    asked = table[: plan.asked].sort_values(
        [f"{headline}_z", headline], ascending=False, kind="stable"
    )
    rest = table[plan.asked :]
    rest = rest[["edit", "gene_ids", "place", "detection", "front", "cells", "changed", *shown]]
    seconds = time.perf_counter() - started
    settings = {
        "genes": names,
        "states": states,
        "group": drawn.group,
        "null": null,
        "cells_per_gene": cells_per_gene,
        "max_cells": max_cells,
        "min_cells": min_cells,
        "pooling": model.pooling,
        "layer_of": model.layer_of,
        "seed": seed,
        "cells_drawn": len(drawn.edited_n),
        "cells_of": drawn.of,
        "cells_edited": len(rows),
        "coverage": coverage,
        "edited_cells_embedded": int(shifts.changed_p.sum()),
        "seconds": seconds,
    }
    result = PerturbResult(
        run=model.name,
        kind=kind,
        factor=factor,
        headline=headline,
        goal=None if drawn.goal is None else f"{drawn.goal.start}:{drawn.goal.end}",
        seen=_seen(loaded, drawn.cells, assume_counts),
        table=asked.reset_index(drop=True),
        null=rest.reset_index(drop=True),
        genes=moved_genes(plan, shifts, model.vocabulary),
        settings=settings,
        direction=None
        if direction is None
        else {
            "unit": direction.unit,
            "agreement": direction.agreement,
            "auc": direction.auc,
        },
        checks=checks_of(asked, kind, headline, drawn, direction, null, within),
        sentences=sentences_of(asked, rest, headline, within),
        provenance=provenance(
            seed,
            {
                "n_obs": drawn.of,
                "n_drawn": len(drawn.edited_n),
                "fingerprint": fingerprint(drawn.cells, cell_hashes(drawn.counts_ng)),
            },
        )
        | {"seconds": seconds},
        folder=None if out is None else Path(out),
    )
    if out is not None:
        result.write(Path(out), force=force)
    return result


def _rank_run(run: EncoderRun | GeneformerRun | FinetunedRun) -> GeneformerRun:
    model = base_of(run)
    if not isinstance(model, GeneformerRun):
        raise SettingsError(
            f"{model.name} is a run on bins; perturb edits the order of genes and needs a "
            "Geneformer checkpoint or a run on ranks"
        )
    return model


def _genes_of(
    tokens_t: NDArray[np.int32],
    offsets_n: NDArray[np.int64],
    rows: NDArray[np.int64],
    vocabulary: RankVocabulary,
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Genes of some of the cells, where each of these starts, and how many genes there are."""
    gene_v = np.full(vocabulary.n_tokens, -1, dtype=np.int64)
    gene_v[vocabulary.token_ids_g] = np.arange(len(vocabulary))
    lengths_n = np.diff(offsets_n)
    kept_n = np.zeros(lengths_n.size, dtype=bool)
    kept_n[rows] = True
    gene_t = gene_v[tokens_t[np.repeat(kept_n, lengths_n)]]
    return gene_t, np.concatenate([[0], np.cumsum(lengths_n[rows])]), len(vocabulary)


def _direction(
    model: GeneformerRun, drawn: DrawnCells, assume_counts: bool, device: str, seed: int
) -> Direction | None:
    if drawn.goal is None:
        return None
    vectors_nd = model.transform(drawn.cells, assume_counts=assume_counts, device=device)
    return fit_direction(vectors_nd, ~drawn.edited_n, drawn.groups_n, drawn.group, seed)


def _seen(
    model: EncoderRun | GeneformerRun | FinetunedRun, cells: AnnData, assume_counts: bool
) -> Seen:
    kinds = set(model.seen(cells, assume_counts=assume_counts).tolist())
    for kind in ("seen-labelled", "seen-unlabelled", "unknown"):
        if kind in kinds:
            return kind
    return "clean"
