"""Tables of edits: shifts beside those of random genes and what expression expects; genes moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellwright.perturbation.edits import Kind
from cellwright.perturbation.insilico import Plan
from cellwright.perturbation.null_genes import GeneProfile
from cellwright.representations.edited import Shifts
from cellwright.representations.expression import log_normalized
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.workflows.perturb_cells import DrawnCells
from cellwright.workflows.perturb_genes import edit_name
from cellwright.workflows.perturb_statistics import edit_rows

# How many of the genes that an edit moves most are listed.
MOVED = 50


def edit_table(
    plan: Plan,
    shifts: Shifts,
    profile: GeneProfile,
    vocabulary: RankVocabulary,
    drawn: DrawnCells,
    kind: Kind,
    factor: float | None,
    headline: str,
) -> pd.DataFrame:
    """One row per edit, null edits too."""
    shift_sp = {"cosine": shifts.cosine_p, "genes": shifts.genes_p}
    if headline == "toward":
        shift_sp = {"toward": shifts.toward_p, **shift_sp}
    groups_n = None if drawn.groups_n is None else drawn.groups_n[drawn.edited_n]
    table = edit_rows(plan, shift_sp, shifts.changed_p, groups_n, two_sided=frozenset({"toward"}))
    members = [list(genes) for genes in plan.sets]
    about: dict[str, Any] = {
        "edit": [edit_name(genes, vocabulary) for genes in members],
        "gene_ids": [",".join(vocabulary.gene_ids[genes].tolist()) for genes in members],
        "place": [float(np.expm1(profile.place_g[genes].mean())) for genes in members],
        "detection": [float(profile.detection_g[genes].mean()) for genes in members],
        # Of a set, the gene that is at the front most rarely.
        "front": [float(profile.front_g[genes].min() / max(profile.n, 1)) for genes in members],
    }
    null_place, null_detection, outside = [], [], []
    for e in range(len(plan.sets)):
        mine = plan.null_am[e] if e < plan.asked else np.array([], dtype=np.int64)
        places = np.array([about["place"][m] for m in mine])
        null_place.append(float(np.exp(np.log1p(places).mean()) - 1) if mine.size else np.nan)
        shares = [about["detection"][m] for m in mine]
        null_detection.append(float(np.mean(shares)) if mine.size else np.nan)
        inside = mine.size == 0 or places.min() <= about["place"][e] <= places.max()
        outside.append(not inside)
    about |= {"null_place": null_place, "null_detection": null_detection, "outside": outside}
    if headline == "toward":
        about["expected"] = _expected(members, vocabulary, drawn, kind, factor)
    table["unit"] = table["unit"].replace({"groups": drawn.group or "groups"})
    return pd.concat([pd.DataFrame(about), table], axis=1)


def _expected(
    members: list[list[int]],
    vocabulary: RankVocabulary,
    drawn: DrawnCells,
    kind: Kind,
    factor: float | None,
) -> list[float]:
    """Which way plain expression says an edit goes: the mean difference of log counts between
    the states, end minus start, with the sign turned where the edit lowers the gene."""
    alignment = vocabulary.align(drawn.cells.var)
    x_ng = log_normalized(drawn.counts_ng)
    start = np.asarray(x_ng[drawn.edited_n].mean(axis=0)).ravel()
    end = np.asarray(x_ng[~drawn.edited_n].mean(axis=0)).ravel()
    lowered = kind == "delete" or (factor is not None and factor < 1)
    change_m = (start - end) if lowered else (end - start)
    change_g = np.zeros(len(vocabulary))
    known = alignment.genes_m >= 0
    np.add.at(change_g, alignment.genes_m[known], change_m[known])
    return [float(change_g[genes].mean()) for genes in members]


def moved_genes(plan: Plan, shifts: Shifts, vocabulary: RankVocabulary) -> pd.DataFrame:
    """Of each watched edit the other genes that moved most, by their mean over cells."""
    frames = []
    for e, (sum_v, cells_v) in enumerate(
        zip(shifts.watched_wv, shifts.watched_cells_wv, strict=True)
    ):
        sum_g, cells_g = sum_v[vocabulary.token_ids_g], cells_v[vocabulary.token_ids_g]
        # A gene that shares one cell with the edit has no mean to speak of.
        fewest = min(5, int(cells_g.max(initial=0)))
        mean_g = np.where(cells_g >= max(1, fewest), sum_g / np.maximum(cells_g, 1), -1.0)
        top = np.argsort(-mean_g, kind="stable")[:MOVED]
        top = top[mean_g[top] > 0]
        frames.append(
            pd.DataFrame(
                {
                    "edit": edit_name(plan.sets[e], vocabulary),
                    "gene": vocabulary.symbols[top],
                    "gene_id": vocabulary.gene_ids[top],
                    "shift": mean_g[top],
                    "cells": cells_g[top],
                }
            )
        )
    if not frames:
        return pd.DataFrame(columns=["edit", "gene", "gene_id", "shift", "cells"])
    return pd.concat(frames, ignore_index=True)
