"""Rank the genes that may be behind the state of a user's own cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import refuse_existing
from cellwright.errors import SettingsError
from cellwright.perturbation.control_likeness import control_likeness
from cellwright.perturbation.queries import control_means, draw_queries
from cellwright.perturbation.reverse_evidence import evidence
from cellwright.perturbation.reverse_reference import Unlikeness, unlikeness
from cellwright.workflows.reverse_predict_annotations import candidate_annotations
from cellwright.workflows.reverse_predict_cells import StateCells, state_cells
from cellwright.workflows.reverse_predict_result import CaseRanking, ReversePrediction
from cellwright.workflows.reverse_run import ReverseRun, load_reverse

FIRST = 5
"""Places among which a gene counts as found again in a smaller group."""
GROUPS = 50


def reverse_predict(
    run: ReverseRun | Path | str,
    source: AnnData | Path | str,
    *,
    case: Sequence[str] = (),
    control: str | None = None,
    state_column: str | None = None,
    batch: str | None = None,
    annotations: Path | str | None = None,
    annotate: Sequence[str] = (),
    top: int = 20,
    layer: str | None = None,
    assume_counts: bool = False,
    seed: int = 0,
    out: Path | str | None = None,
    force: bool = False,
) -> ReversePrediction:
    """Rank candidate genes by the probability that their perturbation makes the cells what they are.

    Every case is asked about with all its cells, as the shift from the control cells of the same
    file; smaller groups of them say how firm the ranking is. Cells unlike the screen's are flagged,
    and cells that are not told from their controls.

    Parameters
    ----------
    run
        A run of :func:`~cellwright.workflows.reverse_train.reverse_train`.
    source
        AnnData (left as it is) or the path of an h5ad, with raw counts.
    case
        States to explain; default every state but the control.
    control
        The state of the cells that shifts are measured from; default the first of the usual names.
    state_column
        Column of ``obs``; default the first of the usual names.
    batch
        Column within which controls are matched, such as the donor.
    annotations, annotate
        A table of genes whose columns are carried along, and which of them (or of ``var``).
    top
        Genes for which evidence is sought and that are shown.
    out, force
        Folder to write (None writes nothing); replace it if it exists.

    Raises
    ------
    DataError, SettingsError, RunError
        One sentence each.
    """
    if top < 1:
        raise SettingsError(f"top is {top}, expected at least 1 gene")
    if out is not None:
        refuse_existing(out, force=force)
    run = run if isinstance(run, ReverseRun) else load_reverse(run)
    cells = state_cells(
        run, source, case, control, state_column, batch, layer=layer, assume_counts=assume_counts
    )
    carried = candidate_annotations(run.candidates, cells.var, annotations, annotate)
    rankings = [_ranked(run, cells, name, carried, top, seed) for name in cells.screen.conditions]
    result = ReversePrediction(
        run=run.folder.name,
        rankings=tuple(rankings),
        sentences=(*cells.notes, *_sentences(run)),
        settings={
            "case": list(cells.screen.conditions),
            "control": control,
            "state_column": state_column,
            "batch": batch,
            "top": top,
            "seed": seed,
            "annotations": carried.columns.tolist(),
        },
        folder=None if out is None else Path(out),
    )
    if out is not None:
        result.write(Path(out), force=force)
    return result


def _ranked(
    run: ReverseRun, cells: StateCells, name: str, carried: pd.DataFrame, top: int, seed: int
) -> CaseRanking:
    keep, measured, screen = run.kept_g, cells.measured_g, cells.screen
    controls = control_means(cells.expression_ng, screen)
    reference = run.told.reference

    def asked(
        k: int | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        q = draw_queries(
            cells.expression_ng, screen, [name], k=k, most=GROUPS, seed=seed, controls=controls
        )
        shift = np.where(measured, q.shift_qg[:, keep], 0).astype(np.float32)
        mean = np.where(measured, q.mean_qg[:, keep], reference.control_g).astype(np.float32)
        return shift, mean, q.shift_qg

    shift, mean, whole = asked(None)
    logit = run.network.logits(shift, mean)[0]
    scored = np.flatnonzero(np.isfinite(logit))
    order = scored[np.argsort(-logit[scored], kind="stable")]
    group_shift, group_mean, _ = asked(run.settings.k)
    groups = run.network.logits(group_shift, group_mean)
    first = np.argsort(-groups, axis=1, kind="stable")[:, :FIRST]
    firm_c = np.array([(first == c).any(axis=1).mean() for c in order.tolist()])
    rows = screen.rows_of(screen.conditions.index(name))
    # Groups of as many cells as the number of genes was learned to be told from.
    cells_q = np.full(len(groups), min(run.settings.k, len(rows)))
    two = float(run.told.sizes.two(group_shift, cells_q).mean())
    unlike = _unlike(run, cells, rows, seed)
    likeness = control_likeness(
        cells.expression_ng[:, keep][:, measured],
        screen.condition_n == screen.conditions.index(name),
        screen.condition_n == -1,
        screen.batch_n,
        reference.sd_g[measured],
        reference.shift_pg[:, measured],
        seed=seed,
    )
    symbols = run.vocabulary.symbols
    place = {str(s): i for i, s in reversed(list(enumerate(symbols.tolist())))}
    place |= {str(s): i for i, s in enumerate(run.vocabulary.gene_ids.tolist())}
    own = [place.get(run.candidates[c], -1) for c in order.tolist()]
    names = [run.candidates[c] for c in order.tolist()]
    table = pd.DataFrame(
        {
            "case": name,
            "rank": np.arange(1, len(order) + 1),
            "gene": names,
            "probability": run.told.calibration.probability(logit[order]),
            "log_odds": logit[order],
            "firm": firm_c,
            "in_training": run.trained_c[order],
            "own_shift": [float(whole[0, g]) if g >= 0 else np.nan for g in own],
        }
    ).join(carried.reindex(names).reset_index(drop=True))
    genes, loss_mt = evidence(run.network.logits, shift[0], mean[0], reference.sd_g, order[:top])
    said = symbols[keep]
    proof = pd.DataFrame(
        [
            {
                "case": name,
                "gene": names[m],
                "measured_gene": str(said[genes[t]]),
                "shift": float(shift[0, genes[t]]),
                "log_odds_lost": float(loss_mt[m, t]),
            }
            for m in range(len(loss_mt))
            for t in np.argsort(-np.abs(loss_mt[m]), kind="stable")[:10].tolist()
        ],
        columns=["case", "gene", "measured_gene", "shift", "log_odds_lost"],
    )
    number = int(run.told.sizes.of(np.array([two]))[0])
    return CaseRanking(
        case=name,
        cells=len(rows),
        controls=len(screen.control_rows),
        groups=len(groups),
        table=table,
        evidence=proof,
        number=number,
        two=two,
        told=run.told.sizes.told,
        unlike=unlike,
        likeness=likeness,
        unscored=len(logit) - len(order),
        top=min(top, len(order)),
    )


def _unlike(run: ReverseRun, cells: StateCells, rows: NDArray[np.int64], seed: int) -> Unlikeness:
    kept = cells.expression_ng[:, run.kept_g]
    return unlikeness(
        run.told.reference,
        kept[rows],
        kept[cells.screen.control_rows],
        cells.measured_g,
        seed=seed,
    )


def _sentences(run: ReverseRun) -> list[str]:
    """What the run was worth on its own screen, and what its numbers mean elsewhere."""
    scores = [
        s
        for s in run.metrics["scores"]
        if s["metric"] == "mrr"
        and s["rep"] == run.settings.kind
        and s["k"] == "all"
        and s["stratum"].startswith("all,")
    ]
    said = []
    if scores:
        s = scores[0]
        said.append(
            f"On {s['n']} unseen perturbations of its own screen the run's mean reciprocal rank was "
            f"{s['value']:.2f} [{s['low']:.2f}, {s['high']:.2f}], chance {s['chance']:.2f}."
        )
    else:
        said.append("How well the run finds unseen perturbations of its own screen is unknown.")
    return [*said, *run.metrics["sentences"][-3:]]
