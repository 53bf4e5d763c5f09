"""``cellwright map`` on three million rows: ``python benchmarks/atlas_map.py [--rows 3000000]``.

Writes the three tables of an atlas of that size, with the columns and cluster numbers of the Human
Brain Cell Atlas, to a temporary folder (``--keep FOLDER``: there, and they stay), runs the command
in a process of its own for every ending, and prints seconds and peak memory beside the targets:
under 60 s and under 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

SECONDS, GB = 60, 2.0
CLUSTERS, TYPES, CHUNK = 3313, 31, 500_000


def write_tables(folder: Path, rows: int, seed: int = 0) -> None:
    """Clusters of very different size, each a cloud near the others of its type."""
    rng = np.random.default_rng(seed)
    type_c = rng.choice(TYPES, CLUSTERS, p=rng.dirichlet(np.full(TYPES, 2.0)))
    centre = rng.uniform(-20, 20, (TYPES, 2))
    middle_c2 = centre[type_c] + rng.normal(0, 2.2, (CLUSTERS, 2))
    wide_c = rng.gamma(2.0, 0.12, CLUSTERS)
    share_c = rng.pareto(1.3, CLUSTERS) + 0.02
    share_c /= share_c.sum()
    alias_c = rng.permutation(CLUSTERS)
    for start in range(0, rows, CHUNK):
        n = min(CHUNK, rows - start)
        own = rng.choice(CLUSTERS, n, p=share_c)
        xy = middle_c2[own] + rng.normal(0, 1, (n, 2)) * wide_c[own, None]
        library = rng.integers(0, 600, n)
        pd.DataFrame(
            {
                "cell_label": [f"10X{a}_1:{start + i:016d}" for i, a in enumerate(library)],
                "cell_barcode": [f"{start + i:016d}" for i in range(n)],
                "cluster_alias": alias_c[own],
                "x": xy[:, 0].round(5),
                "y": xy[:, 1].round(5),
                "library_label": [f"10X{a}_1" for a in library],
                "donor_label": "H19.30.001",
                "anatomical_division_label": "Cerebral cortex",
            }
        ).to_csv(
            folder / "cell_metadata.csv", mode="a" if start else "w", header=not start, index=False
        )
    label = [f"CS202210140_{alias}" for alias in alias_c]
    pd.DataFrame({"cluster_alias": alias_c, "label": label}).to_csv(
        folder / "cluster.csv", index=False
    )
    number = pd.Series(type_c).groupby(type_c).cumcount() + 1
    described = [f"Cell type {t + 1} (subcluster {k})" for t, k in zip(type_c, number, strict=True)]
    pd.DataFrame({"label": label, "description": described}).to_csv(
        folder / "cluster_annotation_term.csv", index=False
    )


def measure(folder: Path, out: Path, top_k: int) -> None:
    """One run of the command in a process of its own."""
    command = [
        *(sys.executable, "-m", "cellwright", "map", "--json", "-q", "--force"),
        *("--metadata", str(folder / "cell_metadata.csv")),
        *("--clusters", str(folder / "cluster.csv")),
        *("--terms", str(folder / "cluster_annotation_term.csv")),
        *("--top-k", str(top_k), "--highlight", "2523,210", "-o", str(out)),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"map to {out.name} failed: {os.waitstatus_to_exitcode(status)}")
    # Kilobytes on Linux, bytes on macOS.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    facts = json.loads(said)
    met = "met" if seconds < SECONDS and peak < GB else "MISSED"
    print(
        f"map {facts['n_cells']:,} rows, top {top_k}, {out.suffix[1:]}: {seconds:.1f} s "
        f"(target < {SECONDS}), peak {peak:.2f} GB (target < {GB:g}), "
        f"{facts['bytes'] / 1e6:.2f} MB written; {met}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--top-k", type=int, nargs="*", default=[10, 31])
    parser.add_argument("--endings", nargs="*", default=["png", "pdf", "html"])
    parser.add_argument("--keep", type=Path, help="Folder for the tables and maps.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cluster_annotation_term.csv").exists():
            write_tables(folder, asked.rows)
        for top_k in asked.top_k:
            for ending in asked.endings:
                measure(folder, folder / f"map_{top_k}.{ending}", top_k)


if __name__ == "__main__":
    main()
