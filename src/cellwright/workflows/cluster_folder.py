"""The folder that clustering leaves: clusters, coordinates, figures and ``metrics.json``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cellwright.data.atomic import atomic_folder
from cellwright.report.canvas import save_figure
from cellwright.workflows.pictures import file_names
from cellwright.workflows.plain_files import write_json, write_tsv

if TYPE_CHECKING:
    from cellwright.workflows.cluster import ClusterResult

log = logging.getLogger("cellwright.workflows.cluster")


def write(result: ClusterResult, out: Path, *, force: bool = False) -> None:
    """Write everything under a temporary name, then rename it to ``out``.

    metrics.json, clusters.tsv (every cell and representation), sizes.tsv, coordinates.tsv,
    confusion_REP.csv (majority vote), figures/*.png.

    Raises
    ------
    RunError
        If ``out`` exists and ``force`` is False.
    DataError
        If it cannot be written.
    """
    cells_n = np.asarray(result.subject.cells.obs_names, dtype=str)
    with atomic_folder(out, force=force) as folder:
        figures = folder / "figures"
        figures.mkdir()
        names = file_names(result.clusterings)
        tables, sizes = [], []
        for rep, found in result.clusterings.items():
            tables.append(
                pd.DataFrame(
                    {
                        "cell": cells_n,
                        "rep": rep,
                        "label": result.labels.class_n,
                        "cluster": found.cluster_n,
                        "cluster_matched": found.matched_cluster_n,
                    }
                )
            )
            sizes.append(pd.DataFrame(found.clusters).assign(rep=rep))
            counts = pd.DataFrame(
                found.majority.confusion_kk,
                index=pd.Index(found.majority.classes, name="true class"),
                columns=list(found.majority.classes),
            )
            counts.to_csv(folder / f"confusion_{names[rep]}.csv", lineterminator="\n")
            save_figure(result.plot_maps(rep), figures / f"umap_{names[rep]}.png")
            save_figure(result.plot_sizes(rep), figures / f"sizes_{names[rep]}.png")
            save_figure(result.plot_resolutions(rep), figures / f"resolutions_{names[rep]}.png")
            save_figure(result.plot_confusion(rep), figures / f"confusion_{names[rep]}.png")
        save_figure(result.plot_scores(), figures / "scores.png")
        write_tsv(pd.concat(tables), folder / "clusters.tsv")
        write_tsv(pd.concat(sizes), folder / "sizes.tsv")
        drawn = [result.coordinates(rep) for rep in result.clusterings]
        write_tsv(pd.concat(drawn), folder / "coordinates.tsv")
        knn = {rep: {"umap": drawn.to_dict()} for rep, drawn in result.pictures.items()}
        write_json({**result.to_dict(), "files": names, "knn_2d": knn}, folder / "metrics.json")
    log.info("wrote %s", out)
