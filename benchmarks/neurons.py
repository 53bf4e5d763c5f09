"""The main job on the published neurons, timed and scored: ``python benchmarks/neurons.py``.

Reads ``whb_neurons`` from the folder ``CELLWRIGHT_DATA`` (default ``../shared/data``). Prints

- the machine's matrix rate and memory bandwidth;
- three studies from file to report, seeds 0, 1, 2, with the published bins and mask rule and a
  fifth of the cells held out by whole libraries: test perplexity beside the best reference that
  needs no network, errors of the probe on the held-out libraries, seconds and peak memory;
- training cells per second beside ``torch.nn.TransformerEncoder`` with full attention, as a ratio
  of medians over alternating repeats in this one process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# As the command line does, and before PyTorch is imported: threads that wait sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cellwright.models.build import EncoderSettings, build_encoder

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CELLWRIGHT_DATA", ROOT.parent / "shared" / "data"))
FILE = DATA / "whb_neurons" / "whb_neurons_1152x2000.h5ad"
WIDTH, GENES, BINS, MASKED = 128, 2000, 20, 300


def machine() -> None:
    """Matrix products and copies per second."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    a @ b
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        rates.append(2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    source, target = np.ones(1 << 25), np.empty(1 << 25)
    np.copyto(target, source)
    copies = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        copies.append(2 * source.nbytes / (time.perf_counter() - start) / 1e9)
    print(
        f"machine: {torch.get_num_threads()} threads, float32 matrix product 2,048³ "
        f"{statistics.median(rates):.0f} GFLOP/s, copy {statistics.median(copies):.0f} GB/s"
    )


def one_study(seed: int, folder: Path, epochs: int) -> dict[str, float]:
    """Run a study in a process of its own; its scores, seconds and peak memory."""
    command = [
        *(sys.executable, "-m", "cellwright", "study", "--preset", "neurons-2025"),
        *("--data", str(FILE), "-o", str(folder), "-q"),
        *("--set", "pretrain.split_by=library_label", "--set", "pretrain.stratify=subtype"),
        *("--set", f"pretrain.seed={seed}", "--set", f"pretrain.epochs={epochs}"),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"the study with seed {seed} failed: {os.waitstatus_to_exitcode(status)}")
    pretrain = json.loads((folder / "neurons" / "metrics.json").read_text())
    probe = json.loads((folder / "probe" / "metrics.json").read_text())

    def accuracy(rep: str) -> dict[str, float]:
        return next(
            s
            for s in probe["scores"]
            if (s["rep"], s["metric"], s["split"], s["stratum"])
            == (rep, "accuracy", probe["design"]["headline"], "all")
        )

    cells = pretrain["cells"]["test"]
    best = pretrain["best_reference"]
    return {
        "perplexity": pretrain["perplexity"]["model"],
        "reference": pretrain["perplexity"][best],
        "cells": cells,
        "errors": round((1 - accuracy("neurons")["value"]) * cells),
        "depth": accuracy("depth")["value"],
        "hvg": accuracy("hvg")["value"],
        "seconds": seconds,
        "gigabytes": usage.ru_maxrss * 1024 / 1e9,
        "rate": pretrain["cells_per_second"],
    }


class FullAttention(nn.Module):
    """The field's usual encoder: one token per gene, PyTorch's own transformer layers."""

    def __init__(self) -> None:
        super().__init__()
        self.genes = nn.Embedding(GENES, WIDTH)
        self.values = nn.Embedding(BINS + 1, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, BINS)

    def forward(
        self, ids_ng: torch.Tensor, hidden_ng: torch.Tensor, targets_nm: torch.Tensor
    ) -> torch.Tensor:
        tokens = self.genes.weight + self.values(ids_ng.masked_fill(hidden_ng, BINS))
        index = targets_nm.unsqueeze(-1).expand(-1, -1, WIDTH)
        return self.head(self.encoder(tokens).gather(1, index))


def rates() -> None:
    """Forward and backward of the same cells through both encoders, in turn."""
    torch.manual_seed(0)
    ours = build_encoder(
        EncoderSettings(size="small", width=WIDTH, dropout=0.0), torch.zeros(GENES, BINS), 0
    )
    full = FullAttention()

    def seconds(model: nn.Module, cells: int, bf16: bool) -> float:
        ids = torch.randint(0, BINS, (cells, GENES))
        targets = torch.rand(cells, GENES).argsort(1)[:, :MASKED].sort(1).values
        hidden = torch.zeros(cells, GENES, dtype=torch.bool).scatter_(1, targets, True)
        truth = ids.gather(1, targets).flatten()
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(ids, hidden, targets)
        functional.cross_entropy(logits.float().flatten(0, 1), truth).backward()
        return (time.perf_counter() - start) / cells

    seconds(ours, 8, False)
    theirs, same, default = [], [], []
    for _ in range(3):
        theirs.append(seconds(full, 8, False))
        same.append(statistics.median(seconds(ours, 8, False) for _ in range(5)))
        default.append(statistics.median(seconds(ours, 32, True) for _ in range(5)))
    base = statistics.median(theirs)
    print(
        f"forward and backward, {GENES:,} genes, width {WIDTH}: full attention (4 layers, batch 8, "
        f"float32) {1 / base:.2f} cells/s; ours at batch 8, float32 "
        f"{1 / statistics.median(same):.0f} cells/s, ratio {base / statistics.median(same):.0f}×; "
        f"ours as it trains (batch 32, bf16) {1 / statistics.median(default):.0f} cells/s, ratio "
        f"{base / statistics.median(default):.0f}×"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=["rates", "studies"])
    asked = parser.parse_args()
    machine()
    if asked.only != "studies":
        rates()
    if asked.only == "rates":
        return
    if not FILE.is_file():
        sys.exit(f"no {FILE}; set CELLWRIGHT_DATA to the folder that holds whb_neurons")
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(asked.seeds):
            got = one_study(seed, Path(scratch) / f"seed{seed}", asked.epochs)
            found.append(got)
            print(
                f"seed {seed}: test perplexity {got['perplexity']:.3f}, best reference without a "
                f"network {got['reference']:.3f}; probe {got['errors']:.0f} errors in "
                f"{got['cells']:.0f} cells of held-out libraries (depth alone {got['depth']:.3f}, "
                f"variable genes {got['hvg']:.3f}); {got['seconds']:.0f} s from file to report, "
                f"{got['gigabytes']:.2f} GB, {got['rate']:.0f} training cells/s",
                flush=True,
            )
    mean = statistics.mean(f["perplexity"] for f in found)
    gap = statistics.mean(f["reference"] - f["perplexity"] for f in found)
    print(
        f"mean of {len(found)} seeds: perplexity {mean:.2f}, {gap:.2f} below the best reference; "
        f"most errors {max(f['errors'] for f in found):.0f}; median "
        f"{statistics.median(f['seconds'] for f in found):.0f} s, most memory "
        f"{max(f['gigabytes'] for f in found):.2f} GB"
    )


if __name__ == "__main__":
    main()
