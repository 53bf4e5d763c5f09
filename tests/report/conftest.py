"""Run, probe and cluster folders in the documented formats, with numbers known to the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellwright.report.page import build_report

REPS = ("neurons", "hvg", "pca", "untrained", "depth", "batch", "depth+batch")
BASELINES = REPS[1:]
# Accuracy in the two designs: the model and the simple methods are right, the shortcuts are not.
ACCURACY = {
    "neurons": (0.9913, 0.9957),
    "hvg": (0.9957, 0.9957),
    "pca": (0.9913, 0.9957),
    "untrained": (0.9130, 0.9261),
    "depth": (0.7957, 0.8043),
    "batch": (0.5391, 0.8739),
    "depth+batch": (0.7870, 0.8957),
}
REFERENCES = {
    "uniform": 13.81,
    "unigram": 6.71,
    "unigram_masked": 6.41,
    "unigram_depth": 6.12,
    "nearest_cells": 6.18,
}
RULE = {
    "bins": "20 quantile bins per gene, zero a bin of its own",
    "mask": "15 % of the genes, half of them with a nonzero count",
    "genes": 2000,
}


INSPECTION: dict[str, Any] = {
    "schema": "cellwright.inspect/1",
    "file": "whb_neurons_1152x2000.h5ad",
    "n_obs": 1152,
    "n_vars": 2000,
    "format": "CSR matrix",
    "bytes": 4_321_000,
    "density": 0.3127,
    "verdict": "counts",
    "evidence": "all 4,096 sampled values are whole numbers from 0 to 2,317",
    "counts_in": "X",
    "gene_id_kind": "ensembl",
    "organism": "human",
    "duplicates": {"obs": 0, "var": 3},
    "problems": ["3 gene ids occur twice"],
}

# What a page must print as it is and never run.
TRICKY = (
    '<b>L5 IT</b> & "x"',
    "$alpha$ </script><script>window.hurt=1</script>",
    "_it's <img src=x onerror=window.hurt=2>",
)


class Tables(HTMLParser):
    """The tables of a page by their caption: a list of rows of cell texts, the head first."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] | None = None
        self._caption = ""
        self._into: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self._rows, self._caption = [], ""
        elif self._rows is not None and tag == "tr":
            self._rows.append([])
        elif self._rows is not None and tag in ("td", "th"):
            self._rows[-1].append("")
            self._into = "cell"
        elif tag == "caption":
            self._into = "caption"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "caption"):
            self._into = None
        elif tag == "table" and self._rows is not None:
            self.found[self._caption] = [[" ".join(c.split()) for c in row] for row in self._rows]
            self._rows = None

    def handle_data(self, data: str) -> None:
        if self._into == "cell" and self._rows:
            self._rows[-1][-1] += data
        elif self._into == "caption":
            self._caption += data

    def starting(self, caption: str) -> list[list[str]]:
        """The one table whose caption starts so."""
        fitting = [rows for name, rows in self.found.items() if name.startswith(caption)]
        assert len(fitting) == 1, (caption, list(self.found))
        return fitting[0]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder with a run, a probe, a clustering and an inspection."""
    root = tmp_path_factory.mktemp("reported") / "study"
    write_run(root / "run", "neurons", 30, {})
    write_probe(root / "probe", ("excitatory", "inhibitory"), 300, {})
    write_cluster(root / "cluster", ("excitatory", "inhibitory"), 300, {})
    (root / "inspection.json").write_text(json.dumps(INSPECTION))
    return root


@pytest.fixture(scope="session")
def page(study: Path) -> Path:
    """The report on that study."""
    return build_report(
        study / "run",
        [study / "probe"],
        [study / "cluster"],
        study / "inspection.json",
        out=study / "report.html",
    )


@pytest.fixture(scope="session")
def tricky_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose every name is hostile."""
    root = tmp_path_factory.mktemp("tricky")
    names = {"label": "cell & <type>", "classes": list(TRICKY)}
    probe = write_probe(root / "probe <1>", TRICKY, 90, names, reps=("neurons", "pca"))
    cluster = write_cluster(root / "cluster", TRICKY, 90, {"label": "cell & <type>"})
    run = write_run(root / "run", "a<b>&'run", 3, {"sentences": ["<script>window.hurt=3</script>"]})
    example = {
        "cell": TRICKY[1],
        "rows": [{"gene_id": "<g>", "gene_symbol": TRICKY[0], "true_bin": 1, "top": [[1, 0.5]]}],
    }
    (run / "examples.json").write_text(json.dumps(example))
    return build_report(run, [probe], [cluster], title="</title><b>", out=root / "page.html")


@pytest.fixture
def tables() -> Callable[[Path], Tables]:
    return lambda path: Tables(path.read_text(encoding="utf-8").split("</main>")[0])


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "neurons", epochs: int = 30, **changes: Any) -> Path:
        folder = tmp_path / "study" / "run" if name == "neurons" else tmp_path / name
        return write_run(folder, name, epochs, changes)

    return make


@pytest.fixture
def make_probe(tmp_path: Path) -> Callable[..., Path]:
    def make(
        name: str = "probe",
        classes: tuple[str, ...] = ("excitatory", "inhibitory"),
        n: int = 1152,
        reps: tuple[str, ...] = REPS,
        **changes: Any,
    ) -> Path:
        return write_probe(tmp_path / "study" / name, classes, n, changes, reps)

    return make


@pytest.fixture
def make_cluster(tmp_path: Path) -> Callable[..., Path]:
    def make(
        name: str = "cluster",
        classes: tuple[str, ...] = ("excitatory", "inhibitory"),
        n: int = 1152,
        **changes: Any,
    ) -> Path:
        return write_cluster(tmp_path / "study" / name, classes, n, changes)

    return make


def write_run(folder: Path, name: str, epochs: int, changes: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    epoch = np.arange(1, epochs + 1)
    train = 1.70 + 1.1 * np.exp(-epoch / 5) + rng.normal(0, 0.004, epochs)
    val = 1.703 + 1.0 * np.exp(-epoch / 5) + rng.normal(0, 0.006, epochs)
    history = pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": train,
            "val_loss": val,
            "perplexity": np.exp(val),
            "masked_accuracy": 0.437 - 0.05 * np.exp(-epoch / 6),
            "zero_accuracy": 0.815 - 0.05 * np.exp(-epoch / 6),
            "nonzero_accuracy": 0.171 - 0.03 * np.exp(-epoch / 6),
            "bits_per_gene": val / np.log(2),
            "learning_rate": 1.5e-3 * np.sin(np.pi * epoch / (epochs + 1)),
            "cells_per_second": 310.0,
            "seconds": 12.0 * epoch,
            **{f"ref_{key}": value for key, value in REFERENCES.items()},
            "ref_majority_accuracy": 0.392,
        }
    )
    history.to_csv(folder / "history.csv", index=False)
    metrics = {
        "schema": "cellwright.pretrain/1",
        "name": name,
        "perplexity": {"model": 5.4871, **REFERENCES},
        "best_reference": "unigram_depth",
        "masked_accuracy": {"model": 0.4369, "majority": 0.392},
        "bits_per_gene": 2.4561,
        "seconds": 361.7,
        "peak_memory_bytes": 1_870_000_000,
        "cells_per_second": 310.2,
        "epochs": epochs,
        "best_epoch": epochs - 1,
        "gap": {"train": 1.700, "val": 1.7024},
        "still_falling": True,
        "rule": RULE,
        "sentences": [
            "Perplexity 5.49 on test cells, 0.63 below the best reference without a network "
            "(the bin frequencies under the mask rule, knowing the cell's depth: 6.12).",
            "The validation curve still falls at the last epoch: more epochs would help.",
        ],
    } | changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    rows = [
        {
            "gene_id": f"ENSG{i:011d}",
            "gene_symbol": symbol,
            "true_bin": true,
            "top": [[a, 0.612], [b, 0.2034], [c, 0.071]],
        }
        for i, (symbol, true, a, b, c) in enumerate(
            [
                ("SLC17A7", 17, 17, 18, 16),
                ("GAD1", 0, 0, 1, 2),
                ("SATB2", 12, 14, 12, 13),
                ("SST", 3, 0, 3, 1),
                ("PVALB", 0, 0, 1, 4),
            ]
        )
    ]
    example = {"cell": "10X194_1:TCACGGGAGAAACCAT", "rows": rows}
    (folder / "examples.json").write_text(json.dumps(example))
    provenance = {
        "schema": "cellwright.provenance/1",
        "versions": {"cellwright": "0.1.0", "torch": "2.13.0", "anndata": "0.12.6"},
        "commit": "26aa835",
        "data": {
            "file": "whb_neurons_1152x2000.h5ad",
            "fingerprint": "9f2c51aa",
            "n_obs": 1152,
            "n_vars": 2000,
            "verdict": "counts",
            "counts_in": "X",
        },
        "seed": 42,
        "hardware": {"processor": "2 cores", "memory_bytes": 25_000_000_000},
        "seconds": 361.7,
        "peak_memory_bytes": 1_870_000_000,
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "config.toml").write_text("seed = 42\nepochs = 30\nnum_bins = 20\n")
    return folder


def blobs(classes: tuple[str, ...], n: int, spread: float, seed: int) -> tuple[Any, Any]:
    """Cells × 2 around one centre per class, and the class of each cell."""
    rng = np.random.default_rng(seed)
    labels = np.array(classes)[np.arange(n) % len(classes)]
    turn = 2 * np.pi * (np.arange(n) % len(classes)) / len(classes)
    xy = 6 * np.c_[np.cos(turn), np.sin(turn)] + rng.normal(0, spread, (n, 2))
    return xy, labels


def write_probe(
    folder: Path,
    classes: tuple[str, ...],
    n: int,
    changes: dict[str, Any],
    reps: tuple[str, ...] = REPS,
) -> Path:
    folder.mkdir(parents=True)
    k = len(classes)
    cells = np.array([f"10X194_{i % 7}:CELL{i:06d}" for i in range(n)])
    scores, per_class, confusion, roc, knn, frames = [], {}, {}, {}, {}, []
    for rep in reps:
        for split, value in zip(("grouped", "random"), ACCURACY[rep], strict=True):
            for metric, shift in (
                ("accuracy", 0.0),
                ("balanced_accuracy", -0.002),
                ("macro_f1", -0.003),
                ("f1_positive", -0.001),
                ("roc_auc", 0.004),
            ):
                v = min(value + shift, 1.0)
                best = ACCURACY["hvg"][0 if split == "grouped" else 1] + shift
                scores.append(
                    {
                        "task": "annotation",
                        "rep": rep,
                        "model": "logistic regression",
                        "metric": metric,
                        "value": v,
                        "low": v - 0.04 * (1.02 - v) * 5,
                        "high": min(1.0, v + 0.03 * (1.02 - v) * 5),
                        "interval": "wilson" if v > 0.95 else "bootstrap",
                        "unit": "libraries" if split == "grouped" else "cells",
                        "n": 23 if split == "grouped" else 230,
                        "chance": 0.5382 if metric == "accuracy" else 0.5,
                        "split": split,
                        "fold_unit": "library_label" if split == "grouped" else "cells",
                        "seen": "seen-unlabelled" if rep == "neurons" else "clean",
                        "stratum": "all",
                        "baseline": "hvg" if rep == "neurons" else None,
                        "difference": {"value": v - best, "low": v - best - 0.011, "high": 0.0061}
                        if rep == "neurons"
                        else None,
                        "higher_is_better": True,
                    }
                )
        right = ACCURACY[rep][0]
        support = np.bincount(np.arange(n) % k, minlength=k)
        counts = np.zeros((k, k), dtype=int)
        for i in range(k):
            counts[i, i] = round(support[i] * right)
            counts[i, (i + 1) % k] += support[i] - counts[i, i]
        confusion[rep] = {"classes": list(classes), "counts": counts.tolist()}
        per_class[rep] = [
            {
                "class": name,
                "precision": counts[i, i] / counts[:, i].sum(),
                "recall": counts[i, i] / support[i],
                "f1": right,
                "support": int(support[i]),
            }
            for i, name in enumerate(classes)
        ]
        x = np.linspace(0, 1, 60)
        power = max(1 - right, 0.004) / right
        roc[rep] = {"fpr": x.tolist(), "tpr": (x**power).tolist()}
        knn[rep] = {m: {"value": right - 0.01, "chance": 0.5382} for m in ("pca", "tsne", "umap")}
        for m, method in enumerate(("pca", "tsne", "umap")):
            xy, labels = blobs(classes, n, 9.0 * (1.06 - right) + 0.7 * m, 7 * m + len(rep))
            frames.append(
                pd.DataFrame(
                    {
                        "cell": cells,
                        "rep": rep,
                        "method": method,
                        "x": xy[:, 0],
                        "y": xy[:, 1],
                        "label": labels,
                    }
                )
            )
    pd.concat(frames).to_csv(folder / "coordinates.tsv", sep="\t", index=False)
    metrics = {
        "schema": "cellwright.probe/1",
        "label": "cell_type",
        "classes": list(classes),
        "positive": classes[0] if k == 2 else None,
        "design": {"groups": "library_label", "folds": 5, "test_share": 0.2, "seed": 0},
        "excluded": 12,
        "baselines": [rep for rep in reps if rep != "neurons"],
        "scores": scores,
        "checks": [
            {
                "name": "batch",
                "severity": "warning",
                "sentence": "The library label alone reaches 0.874 when random cells are held out.",
                "remedy": "Read the scores with whole libraries held out.",
            },
            {
                "name": "duplicate cells",
                "severity": "note",
                "sentence": "No cell occurs twice.",
                "remedy": "",
            },
        ],
        "sentences": [
            "With whole libraries held out, neurons names 0.991 of the cells right and does not "
            "beat hvg (0.996): the simple method is at least as good.",
            "Depth alone reaches 0.796; neurons beats it by 0.196.",
        ],
        "per_class": per_class,
        "confusion": confusion,
        "roc": roc if k == 2 else {},
        "knn_2d": knn,
    } | changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    pd.DataFrame(
        {
            "cell": cells,
            "rep": "neurons",
            "split": "grouped",
            "fold": np.arange(n) % 5,
            "label": np.array(classes)[np.arange(n) % k],
            "prediction": np.array(classes)[(np.arange(n) + (np.arange(n) % 97 == 0)) % k],
        }
    ).to_csv(folder / "predictions.tsv", sep="\t", index=False)
    return folder


def write_cluster(folder: Path, classes: tuple[str, ...], n: int, changes: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    cells = np.array([f"10X194_{i % 7}:CELL{i:06d}" for i in range(n)])
    k = len(classes)
    reps, frames, assigned = {}, [], []
    for at, rep in enumerate(("neurons", "pca")):
        xy, labels = blobs(classes, n, 1.4 + at, 3 + at)
        code = np.arange(n) % k
        cluster = 2 * code + (xy[:, 1] > np.median(xy[:, 1]))
        agree = {
            "resolution": 0.8,
            "n_clusters": 2 * k,
            "ari": 0.6137 - 0.1 * at,
            "nmi": 0.7021,
            "homogeneity": 0.9813,
            "completeness": 0.5467,
        }
        grid = [
            {
                "resolution": r,
                "n_clusters": int(1 + 8 * r),
                "ari": float(np.clip(0.95 - 0.4 * r, 0, 1)),
                "nmi": float(np.clip(0.93 - 0.3 * r, 0, 1)),
                "homogeneity": 0.98,
                "completeness": float(np.clip(0.95 - 0.42 * r, 0, 1)),
            }
            for r in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
        ]
        counts = np.diag(np.bincount(code, minlength=k) - 5) + 5 * np.roll(
            np.eye(k, dtype=int), 1, 1
        )
        reps[rep] = {
            "given": agree,
            "matched": agree | {"resolution": 0.12, "n_clusters": k, "ari": 0.9412},
            "grid": grid,
            "majority": {
                "accuracy": 0.9913,
                "shuffled": {"value": 0.5467, "low": 0.5382, "high": 0.5621},
                "confusion": {"classes": list(classes), "counts": counts.tolist()},
            },
            "clusters": [
                {
                    "cluster": c,
                    "n": int((cluster == c).sum()),
                    "majority_label": classes[c // 2],
                    "purity": 0.99 - 0.013 * c,
                }
                for c in range(2 * k)
            ],
        }
        assigned.append(
            pd.DataFrame({"cell": cells, "rep": rep, "label": labels, "cluster": cluster})
        )
        frames.append(
            pd.DataFrame(
                {
                    "cell": cells,
                    "rep": rep,
                    "method": "umap",
                    "x": xy[:, 0],
                    "y": xy[:, 1],
                    "label": labels,
                    "cluster": cluster,
                }
            )
        )
    pd.concat(frames).to_csv(folder / "coordinates.tsv", sep="\t", index=False)
    pd.concat(assigned).to_csv(folder / "clusters.tsv", sep="\t", index=False)
    metrics = {
        "schema": "cellwright.cluster/1",
        "label": "cell_type",
        "settings": {
            "neighbors": 15,
            "metric": "cosine",
            "resolution": 0.8,
            "method": "leiden",
            "seed": 42,
        },
        "reps": reps,
        "sentences": [
            "Clusters of neurons name 0.991 of the cells right (0.547 for shuffled labels)."
        ],
    } | changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder
