"""What a finished linear VAE leaves in its folder: measures, loadings, enrichment, map, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file
from cellwright.errors import DataError
from cellwright.evaluation.communities import Communities
from cellwright.evaluation.neighbors import neighbor_graph
from cellwright.report.canvas import save_figure
from cellwright.report.embedding import cluster_maps, embedding_map
from cellwright.report.ldvae_figures import elbo_curves, loadings_figure
from cellwright.representations.ldvae import SCHEMA, LDVAERun
from cellwright.training.hardware import peak_memory_bytes
from cellwright.training.linear_vae_fit import FittedLinearVAE
from cellwright.training.linear_vae_objective import LinearVAEObjective
from cellwright.training.packed_counts import detected
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.ldvae_cells import LDVAECells
from cellwright.workflows.ldvae_enrichment import enrichment, top_genes
from cellwright.workflows.projections import project
from cellwright.workflows.provenance import provenance

TOP = 50
LEAST_CELLS, LEAST_SHARE = 3, 0.1
"""Genes seen in fewer training cells stay near the loadings of the random start: they head no axis."""
SHOWN_P = 0.05
"""Pairs of an axis and a gene set with a larger p are not written; q counts them."""
RESOLUTION = 1.0
QUIET_AXIS = 0.01
"""An axis whose latent means have less variance than this over the cells holds nothing."""
_LABELS = (
    "state",
    "cell_type",
    "celltype",
    "cell_class",
    "subclass",
    "cluster",
    "louvain",
    "class",
)


def write_ldvae(
    folder: RunFolder,
    task: LDVAECells,
    objective: LinearVAEObjective,
    found: FittedLinearVAE,
    subject: AnnData,
    sets: Mapping[str, Sequence[str]] | None,
    label: str | None,
    read: Mapping[str, Any],
) -> None:
    """Weights, tables, figures and, last, ``metrics.json``, which makes it a finished run."""
    fitted, model, settings = found.fitted, found.model, found.settings
    folder.write_weights("last.safetensors", fitted.last)
    folder.write_weights("model.safetensors", fitted.best)
    device = torch.device("cpu")
    train = objective.held_out(model, device, task.train, task.train_codes_n)
    val = objective.held_out(model, device)
    run = LDVAERun(folder.name, folder.path, settings, task.vocabulary, task.fitted, model)
    latent_nd = run.transform(subject, **read)
    strength = pd.Series(latent_nd.std(0), index=[f"Z_{d}" for d in range(latent_nd.shape[1])])
    loadings = run.loadings()
    _write_table(folder, "loadings.tsv", loadings.assign(gene_symbol=task.vocabulary.symbols))
    shown_g = detected(task.train) >= max(LEAST_CELLS, LEAST_SHARE * len(task.train))
    if not shown_g.any():
        shown_g[:] = True
    symbols = task.vocabulary.symbols[shown_g].tolist()
    top = top_genes(loadings[shown_g], symbols, min(TOP, len(symbols) // 2 or 1))
    _write_table(folder, "top_genes.tsv", top, index=False)
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    history = pd.DataFrame(fitted.history)
    save_figure(elbo_curves(history, best_epoch=fitted.best_epoch), figures / "elbo.png")
    save_figure(loadings_figure(top, strength=strength), figures / "loadings.png")
    clusters_n = _maps(folder, subject, latent_nd, label)
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        "elbo": {"train": -sum(train), "val": -sum(val)},
        "reconstruction": {"train": train[0], "val": val[0]},
        "kl": {"train": train[1] + train[2], "val": val[1] + val[2]},
        "kl_latent": {"train": train[1], "val": val[1]},
        "kl_library": {"train": train[2], "val": val[2]},
        "seconds": fitted.seconds,
        "seconds_per_epoch": fitted.seconds / max(len(fitted.history), 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "cells_per_second": fitted.cells_per_second,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "cells": task.facts["cells"],
        "genes": len(task.vocabulary),
        "batches": list(task.batches),
        "latent": settings.latent,
        "axes_in_use": int((strength**2 >= QUIET_AXIS).sum()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "leiden": {"clusters": int(clusters_n.max()) + 1, "resolution": RESOLUTION},
        "top_genes": _strongest(top, strength),
        "top_genes_among": len(symbols),
        "scores": [],
        "checks": _checks(fitted.best_epoch, len(fitted.history), strength),
        "note": task.note,
    }
    if sets is not None:
        try:
            table = enrichment(loadings[shown_g], symbols, sets, top)
        except DataError as error:  # genes seen in too few cells; the rest of the run stands
            metrics["checks"].append(
                {
                    "name": "no-set-tested",
                    "severity": "warning",
                    "sentence": f"No gene set was tested: {error}.",
                    "remedy": "Give more cells, or larger sets.",
                }
            )
        else:
            _write_table(folder, "enrichment.tsv", table[table["p"] < SHOWN_P], index=False)
            metrics["enriched"] = {
                "sets": int(table["set"].nunique()),
                "below_0.05": int((table["q"] < 0.05).sum()),
                "first": table.head(10).to_dict("records"),
            }
    metrics["sentences"] = _sentences(metrics)
    facts = {"seconds": fitted.seconds, "peak_memory_bytes": metrics["peak_memory_bytes"]}
    folder.write_json("provenance.json", {**provenance(settings.seed, task.facts), **facts})
    folder.write_json("metrics.json", metrics)
    folder.log(" ".join(metrics["sentences"]))


def _maps(
    folder: RunFolder, subject: AnnData, latent_nd: NDArray[np.float32], label: str | None
) -> NDArray[np.int64]:
    """Leiden clusters of the latent, and the UMAP coloured by them and by the label."""
    # An axis that holds nothing counts as little as it varies: no z-scores.
    values_nd = latent_nd.astype(np.float64)
    n = len(values_nd)
    if n < 4:
        return np.zeros(n, dtype=np.int64)
    graph = neighbor_graph(values_nd, neighbors=min(15, n - 1), metric="euclidean")
    clusters_n = Communities(graph).at(RESOLUTION)
    laid = project(latent_nd, "umap", metric="euclidean")
    rows = laid.rows_m
    names = np.array([str(c) for c in clusters_n[rows]])
    column = label or next((c for c in _LABELS if c in subject.obs.columns), None)
    table = pd.DataFrame(
        {"cell": np.asarray(subject.obs_names)[rows], "x": laid.xy_m2[:, 0], "y": laid.xy_m2[:, 1]}
    )
    table["cluster"] = names
    figures = folder.path / "figures"
    words = f"the latent of {folder.name}"
    if column is None:
        drawn: Any = embedding_map(laid.xy_m2, names, rep=words, label="Leiden cluster")
    else:
        table["label"] = subject.obs[column].astype(str).to_numpy()[rows]
        drawn = cluster_maps(table, rep=words, label=column)
    _write_table(folder, "umap.tsv", table, index=False)
    save_figure(drawn, figures / "umap.png")
    return clusters_n


def _strongest(
    top: pd.DataFrame, strength: pd.Series, axes: int = 5, genes: int = 5
) -> dict[str, str]:
    """The first genes at both ends of the axes along which cells differ most, in words."""
    out = {}
    for axis in strength.sort_values(ascending=False).index[:axes]:
        part = top[(top["axis"] == axis) & (top["rank"] <= genes)]
        ends = [
            f"{end} {', '.join(part.loc[part['end'] == end, 'gene_symbol'])}" for end in ("+", "-")
        ]
        out[str(axis)] = "; ".join(ends)
    return out


def _checks(best_epoch: int, epochs: int, strength: pd.Series) -> list[dict[str, str]]:
    found = []
    if best_epoch == epochs:
        found.append(
            {
                "name": "still-falling",
                "severity": "warning",
                "sentence": f"The validation ELBO was best in the last of {epochs} epochs.",
                "remedy": "Train longer (--epochs).",
            }
        )
    quiet = int((strength**2 < QUIET_AXIS).sum())
    if quiet:
        found.append(
            {
                "name": "unused-axes",
                "severity": "note",
                "sentence": f"{quiet} of {len(strength)} axes hold next to nothing.",
                "remedy": "A smaller --latent would do; read no genes off these axes.",
            }
        )
    return found


def _sentences(metrics: Mapping[str, Any]) -> list[str]:
    cells = metrics["cells"]
    first = (
        f"Negative ELBO on {cells['val']:,} validation cells {-metrics['elbo']['val']:.2f} nats per "
        f"cell (reconstruction {metrics['reconstruction']['val']:.2f}, KL {metrics['kl']['val']:.2f}); "
        f"on {cells['train']:,} training cells {-metrics['elbo']['train']:.2f}."
    )
    second = (
        f"Best of {metrics['epochs']} epochs: {metrics['best_epoch']}; "
        f"{metrics['seconds_per_epoch']:.2f} s an epoch, "
        f"{metrics['axes_in_use']} of {metrics['latent']} axes in use, "
        f"{metrics['leiden']['clusters']} Leiden clusters."
    )
    out = [first, second]
    if metrics["note"]:
        out.append(metrics["note"])
    if "enriched" in metrics:
        found = metrics["enriched"]
        out.append(
            f"{found['below_0.05']} pairs of an axis and a gene set (of {found['sets']:,} sets) "
            "with q below 0.05."
        )
    out += [check["sentence"] for check in metrics["checks"]]
    return out


def _write_table(folder: RunFolder, name: str, table: pd.DataFrame, *, index: bool = True) -> None:
    with atomic_file(folder.path / name) as temporary:
        table.to_csv(temporary, sep="\t", index=index, float_format="%.6g")
