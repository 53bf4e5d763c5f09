"""Rank the genes that may be behind the state of a user's own cells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.atomic import refuse_existing
from cellwright.data.gene_tables import read_gene_table, text_of
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.queries import control_means, draw_queries
from cellwright.perturbation.reverse import CONTROL_NAMES, Screen
from cellwright.perturbation.reverse_evidence import evidence
from cellwright.perturbation.reverse_reference import Unlikeness, unlikeness
from cellwright.representations.expression import log_normalized
from cellwright.workflows.reverse_predict_result import CaseRanking, ReversePrediction
from cellwright.workflows.reverse_run import ReverseRun, load_reverse

log = logging.getLogger(__name__)

STATES = ("state", "condition", "perturbation", "disease", "status", "treatment", "group")
CONTROLS = (*CONTROL_NAMES, "normal", "healthy", "untreated", "unstimulated", "wildtype", "WT")
FIRST = 5
"""Places among which a gene counts as found again in a smaller group."""
GROUPS = 50


@dataclass(frozen=True)
class _Cells:
    """The user's cells on the run's genes: log expression, which genes are measured, states."""

    expression_ng: sp.csr_matrix
    measured_g: NDArray[np.bool_]
    screen: Screen
    var: pd.DataFrame
    notes: tuple[str, ...]


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
    file; smaller groups of them say how firm the ranking is. Cells unlike the screen's are flagged.

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
    cells = _cells(
        run, source, case, control, state_column, batch, layer=layer, assume_counts=assume_counts
    )
    carried = _annotations(run.candidates, cells.var, annotations, annotate)
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


def _cells(
    run: ReverseRun,
    source: AnnData | Path | str,
    case: Sequence[str],
    control: str | None,
    column: str | None,
    batch: str | None,
    *,
    layer: str | None,
    assume_counts: bool,
) -> _Cells:
    adata = read_cells(source)
    obs = adata.obs
    column = _column(obs, column, STATES, "--state-column")
    values = obs[column]
    state_n = np.where(values.isna(), "", values.astype(str).str.strip()).astype(str)
    present = [str(s) for s in np.unique(state_n) if s]
    control = _control(present, control, column)
    for name in case:
        if name not in present:
            close = nearest(name, present)
            raise SettingsError(
                f"no cell is {name!r} in {column!r}"
                + (
                    f": did you mean {close!r}?"
                    if close
                    else f": it holds {', '.join(present[:5])}"
                )
            )
        if name == control:
            raise SettingsError(f"{name!r} is case and control; name two states")
    cases = tuple(dict.fromkeys(case)) or tuple(s for s in present if s != control)
    if not cases:
        raise DataError(f"every cell is {control!r} in {column!r}: there is no case to explain")
    alignment = run.vocabulary.align(adata.var)
    counts = counts_of(adata, layer=layer, assume_counts=assume_counts)
    counts = run.vocabulary.take(counts, alignment)
    code = {control: -1} | {name: i for i, name in enumerate(cases)}
    condition_n = np.array([code.get(s, -2) for s in state_n], dtype=np.int64)
    empty = np.asarray(counts.sum(axis=1)).ravel() == 0
    notes = []
    if (empty & (condition_n > -2)).any():
        number = int((empty & (condition_n > -2)).sum())
        notes.append(f"Cells without a count of the run's genes, which are left out: {number}.")
        condition_n = np.where(empty, -2, condition_n)
    for name in (control, *cases):
        if not (condition_n == code[name]).any():
            raise DataError(
                f"no cell that is {name!r} in {column!r} has a count of the run's genes"
            )
    missing = int((alignment.columns_g < 0).sum())
    if missing:
        notes.append(
            f"{missing} of the {len(run.vocabulary)} genes of the run are not measured and count "
            "as unchanged."
        )
    batch_n = np.full(len(obs), "all")
    if batch is not None:
        batch_n = obs[_column(obs, batch, (), "--batch")].astype(str).to_numpy(dtype=str)
    screen = Screen(
        conditions=cases,
        genes_p=tuple(() for _ in cases),
        condition_n=condition_n,
        candidates=run.candidates,
        targets_pc=np.zeros((len(cases), len(run.candidates)), dtype=bool),
        batch_n=batch_n,
    )
    keep = run.kept_g
    return _Cells(
        log_normalized(counts), (alignment.columns_g >= 0)[keep], screen, adata.var, tuple(notes)
    )


def _ranked(
    run: ReverseRun, cells: _Cells, name: str, carried: pd.DataFrame, top: int, seed: int
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
    groups = run.network.logits(*asked(run.settings.k)[:2])
    first = np.argsort(-groups, axis=1, kind="stable")[:, :FIRST]
    firm_c = np.array([(first == c).any(axis=1).mean() for c in order.tolist()])
    two = float(run.told.sizes.two(logit[None])[0])
    rows = screen.rows_of(screen.conditions.index(name))
    unlike = _unlike(run, cells, rows, seed)
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
    number = int(run.told.sizes.number(logit[None])[0])
    return CaseRanking(
        case=name,
        cells=len(rows),
        controls=len(screen.control_rows),
        groups=len(groups),
        table=table,
        evidence=proof,
        number=number,
        two=two,
        unlike=unlike,
        unscored=len(logit) - len(order),
        top=min(top, len(order)),
    )


def _unlike(run: ReverseRun, cells: _Cells, rows: NDArray[np.int64], seed: int) -> Unlikeness:
    kept = cells.expression_ng[:, run.kept_g]
    return unlikeness(
        run.told.reference,
        kept[rows],
        kept[cells.screen.control_rows],
        cells.measured_g,
        seed=seed,
    )


def _annotations(
    candidates: Sequence[str], var: pd.DataFrame, table: Path | str | None, chosen: Sequence[str]
) -> pd.DataFrame:
    """Columns about the candidates, from a table of the user's or from ``var``, by gene."""
    known: dict[str, pd.Series] = {}
    if table is not None:
        frame = read_gene_table(table)
        if len(frame.columns) < 2:
            raise DataError(f"{table} has one column, expected genes and what is known of them")
        genes = text_of(frame.iloc[:, 0])
        kept = ~pd.Series(genes).duplicated().to_numpy() & (genes != "")
        frame = frame[kept].set_index(genes[kept])
        if not frame.index.isin(list(candidates)).any():
            raise DataError(
                f"none of the {len(candidates)} candidates ({', '.join(list(candidates)[:3])} …) is "
                f"in the first column of {table} ({', '.join(genes[:3])} …)"
            )
        known = {str(c): frame[c] for c in frame.columns[1:]}
    wanted = list(chosen) or list(known)
    out = pd.DataFrame(index=pd.Index(list(candidates)))
    for name in wanted:
        column = known.get(name)
        if column is None and name in var.columns:
            column = var[name][~var.index.duplicated()]
        if column is None:
            near = nearest(name, [*known, *map(str, var.columns)])
            raise SettingsError(
                f"no annotation {name!r} in "
                + (f"{table} or in var" if table is not None else "var")
                + (f": did you mean {near!r}?" if near else "")
            )
        title = name if name not in _OURS else f"{name} (yours)"
        out[title] = column.reindex(out.index)
    return out


_OURS = ("case", "rank", "gene", "probability", "log_odds", "firm", "in_training", "own_shift")


def _column(obs: pd.DataFrame, given: str | None, usual: Sequence[str], option: str) -> str:
    if given is None:
        found = [name for name in usual if name in obs.columns]
        if not found:
            raise DataError(
                f"no column of obs names states (looked for {', '.join(usual)}; it has "
                f"{', '.join(map(str, obs.columns)) or 'none'}): name it with {option}"
            )
        return found[0]
    if given not in obs.columns:
        close = nearest(given, map(str, obs.columns))
        raise DataError(
            f"obs has no column {given!r} for {option}"
            + (f": did you mean {close!r}?" if close else "")
        )
    return given


def _control(present: Sequence[str], control: str | None, column: str) -> str:
    if control is not None and control not in present:
        close = nearest(control, present)
        raise SettingsError(
            f"no cell is {control!r} in {column!r}"
            + (f": did you mean {close!r}?" if close else f": it holds {', '.join(present[:5])}")
        )
    if control is not None:
        return control
    usual = {name.lower() for name in CONTROLS}
    found = [name for name in present if name.lower() in usual]
    if not found:
        raise DataError(
            f"no state in {column!r} is called like controls ({', '.join(CONTROLS[:3])} …), but "
            f"{', '.join(present[:5])}; name them with --control"
        )
    return found[0]


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
