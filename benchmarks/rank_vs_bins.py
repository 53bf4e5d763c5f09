"""Ranks against bins: encoding x pretraining x shift of context: ``python benchmarks/rank_vs_bins.py``.

For every data set a source context and a target context are named (other libraries, the other donor,
the other condition, another technology). An encoder is pretrained on training cells of the source
alone, once on bins and once on ranks, with the same genes, width, layers, epochs and seed. A tuned
logistic regression learns cell types from vectors of the same training cells, and answers

- held-out cells of the source context (``same``), and
- all cells of the target context (the shift);

from three kinds of vectors for each encoding: the encoding itself (bins, or ranks as numbers; 50
principal components fitted on the training cells), the encoder with random weights, and the encoder
pretrained. So the columns ``itself``, ``untrained`` and ``pretrained`` say what the encoding, the
network and the training each add. Log-normalised counts of variable genes stand beside. Printed are
macro F1 with 95 % intervals over cells (or libraries where there are six) and the paired difference
ranks - bins. Reads the folder ``CELLWRIGHT_DATA`` (default ``../shared/data``).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import scipy.sparse as sp
from anndata import AnnData, read_h5ad
from sklearn.decomposition import PCA

import cellwright
from cellwright.data.simulate import simulate
from cellwright.evaluation.class_scores import measure_classes
from cellwright.evaluation.classifiers import fit_tuned
from cellwright.evaluation.comparison import judge
from cellwright.interfaces import Predictions, RowBlock
from cellwright.representations.hvg import HighlyVariableGenes
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.ranked import RankedTokenizer

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CELLWRIGHT_DATA", ROOT.parent / "shared" / "data"))
GENES = 2000
STAGES = ("itself", "untrained", "pretrained")


@dataclass(frozen=True)
class Case:
    """name: of data set and shift; label: column of types; target_n: True in the target context;
    unit: column that intervals resample where it has six values or more."""

    name: str
    cells: AnnData
    label: str
    target_n: np.ndarray | None
    unit: str | None = None


def cases() -> Iterator[tuple[str, Callable[[], Case]]]:
    yield "pbmc3k, one library", pbmc3k
    yield "kang2018, other donor", partial(kang2018, "donor")
    yield "kang2018, other condition", partial(kang2018, "condition")
    yield "whb_neurons, other libraries", whb_neurons
    yield "darmanis2015, other donors", darmanis2015
    yield "simulated, other libraries", partial(simulated, "library")
    yield "simulated, other donors", partial(simulated, "donor")
    yield "simulated, other technology", partial(simulated, "technology")


def read(folder: str) -> AnnData:
    cells = read_h5ad(next((DATA / folder).glob("*.h5ad")))
    if "counts" in cells.layers:
        cells.X = cells.layers["counts"]
    return AnnData(sp.csr_matrix(cells.X, dtype=np.float32), obs=cells.obs, var=cells.var)


def pbmc3k() -> Case:
    cells = read("pbmc3k")
    return Case("pbmc3k, one library", cells, "classified", None)


def kang2018(shift: str) -> Case:
    cells = read("kang2018")
    sample = cells.obs["sample_id"].astype(str)
    target = sample.str.endswith("107") if shift == "donor" else sample.str.startswith("stim")
    return Case(f"kang2018, other {shift}", cells, "cluster_id", target.to_numpy())


def whb_neurons() -> Case:
    cells = read("whb_neurons")
    libraries = np.random.default_rng(0).permutation(
        np.unique(cells.obs["library_label"].astype(str))
    )
    held = set(libraries[: len(libraries) // 3])
    target = cells.obs["library_label"].astype(str).isin(held).to_numpy()
    return Case("whb_neurons, other libraries", cells, "subtype", target, "library_label")


def darmanis2015() -> Case:
    cells = read("darmanis2015")
    held = {"AB_S7", "AB_S5", "FB_S3", "FB_S1", "AB_S3"}
    target = cells.obs["experiment_sample_name"].astype(str).isin(held).to_numpy()
    return Case("darmanis2015, other donors", cells, "cell type", target)


def simulated(shift: str) -> Case:
    cells = simulate(2400, GENES, seed=3, n_donors=8, n_libraries=16, depth=3000.0)
    if shift == "technology":
        rng = np.random.default_rng(7)
        target = np.isin(cells.obs["donor"].astype(str), sorted(set(cells.obs["donor"]))[::2])
        # Another chemistry: an eighth of the molecules, and every gene caught with its own efficiency.
        caught_g = np.minimum(0.125 * rng.lognormal(0.0, 0.7, cells.n_vars), 1.0)
        x = cells.X.toarray().astype(np.int64)
        x[target] = rng.binomial(x[target], caught_g)
        cells.X = sp.csr_matrix(x, dtype=np.float32)
    else:
        column = "donor" if shift == "donor" else "library_label"
        names = np.unique(cells.obs[column].astype(str))
        target = np.isin(cells.obs[column].astype(str), names[::3])
    unit = "library_label" if shift != "donor" else None
    return Case(f"simulated, other {shift}", cells, "subclass", target, unit)


def parts(case: Case) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of training cells, held-out source cells and target cells; and class codes."""
    text = case.cells.obs[case.label].astype(str).to_numpy()
    known = ~case.cells.obs[case.label].isna().to_numpy()
    target = np.zeros(len(text), bool) if case.target_n is None else case.target_n
    rng = np.random.default_rng(1)
    train = known & ~target & (rng.random(len(text)) > 0.2)
    kept = [c for c in np.unique(text[train]) if (text[train] == c).sum() >= 10]
    codes = np.array([kept.index(t) if t in kept else -1 for t in text])
    inside = known & (codes >= 0)
    rows = {
        "train": np.flatnonzero(train & inside),
        "same": np.flatnonzero(~train & ~target & inside),
        "shift": np.flatnonzero(target & inside),
    }
    return {name: r for name, r in rows.items() if len(r)}, codes


def with_split(cells: AnnData, train: np.ndarray) -> AnnData:
    """Training cells only, a tenth of them for stopping: the rest of the data is never shown."""
    own = cells[train].copy()
    val = np.random.default_rng(2).random(own.n_obs) < 0.1
    own.obs["split"] = np.where(val, "val", "train")
    return own


def encoded(kind: str, cells: AnnData, train: np.ndarray) -> np.ndarray:
    """The encoding itself as numbers: bins, or 1 for a cell's first gene down to 0 for absent ones."""
    names = np.asarray(cells.obs_names, dtype=str)
    block = RowBlock(sp.csr_matrix(cells.X[train]), names[train], train)
    if kind == "bins":
        tokenizer = BinnedTokenizer(20).fit([block])
        return tokenizer.encode(cells.X).value_ids_nt.astype(np.float32)
    tokenizer = RankedTokenizer(max_tokens=GENES + 2).fit([block])
    tokens, offsets = tokenizer.ranks(cells.X)
    out = np.zeros((cells.n_obs, int(tokens.max()) + 1), dtype=np.float32)
    for n in range(cells.n_obs):
        own = tokens[offsets[n] : offsets[n + 1]]
        out[n, own] = 1 - np.arange(len(own)) / max(len(own), 1)
    return out


def vectors(case: Case, train: np.ndarray, epochs: int, folder: Path) -> dict[str, np.ndarray]:
    """One matrix of vectors for each encoding and stage, and log counts."""
    found = {}
    own = with_split(case.cells, train)
    for kind, tokenizer in (("bins", "binned"), ("ranks", "ranked")):
        itself = encoded(kind, case.cells, train)
        pca = PCA(min(50, len(train) - 1), random_state=0).fit(itself[train])
        found[f"{kind} itself"] = pca.transform(itself)
        start = time.perf_counter()
        out = folder / f"{kind}-{case.name.replace(' ', '-')}"
        result = cellwright.pretrain(
            own, out, tokenizer=tokenizer, size="tiny", epochs=epochs, batch_size=32, seed=0
        )
        run = cellwright.load(out)
        perplexity = result.metrics["perplexity"]
        best = perplexity[result.metrics["best_reference"]]
        print(
            f"  {kind}: pretrained in {time.perf_counter() - start:.0f} s, perplexity "
            f"{perplexity['model']:.2f}, best reference {best:.2f}",
            flush=True,
        )
        found[f"{kind} untrained"] = run.untrained().transform(case.cells)
        found[f"{kind} pretrained"] = run.transform(case.cells)
    hvg = HighlyVariableGenes().fit(case.cells[train].copy())
    found["log counts"] = hvg.transform(case.cells)
    return found


def run(case: Case, epochs: int, folder: Path) -> None:
    case = Case(case.name, narrowed(case), case.label, case.target_n, case.unit)
    rows, codes = parts(case)
    classes = tuple(map(str, range(codes.max() + 1)))
    sizes = ", ".join(f"{len(r)} {name}" for name, r in rows.items())
    print(f"\n{case.name}: {sizes}, {case.cells.n_vars} genes, {len(classes)} types", flush=True)
    found = vectors(case, rows["train"], epochs, folder)
    answers = []
    for name, x in found.items():
        fitted = fit_tuned("logistic-regression", x[rows["train"]], codes[rows["train"]], classes)
        for part in [p for p in ("same", "shift") if p in rows]:
            answers.append(
                answer(
                    case, name, part, rows[part], codes, classes, fitted.probability(x[rows[part]])
                )
            )
    for part in [p for p in ("same", "shift") if p in rows]:
        own = [a for a in answers if a.split == part]
        scores = {
            s.rep: s
            for s in judge(own, measure_classes).scores
            if s.metric == "macro_f1" and s.stratum == "all"
        }
        log = scores["log counts"]
        print(
            f"  {part}: macro F1, log counts {log.value:.3f} ({log.low:.3f} to {log.high:.3f}), per {log.unit}"
        )
        for stage in STAGES:
            cells = [scores[f"{kind} {stage}"] for kind in ("bins", "ranks")]
            told = "   ".join(f"{s.rep} {s.value:.3f} ({s.low:.3f} to {s.high:.3f})" for s in cells)
            print(f"    {told}   ranks - bins {difference(own, stage)}", flush=True)


def difference(own: list[Predictions], stage: str) -> str:
    pair = [a for a in own if a.rep in (f"bins {stage}", f"ranks {stage}")]
    pair = [Predictions(**{**a.__dict__, "baseline": a.rep.startswith("bins")}) for a in pair]
    (gap,) = [d for d in judge(pair, measure_classes).differences if d.metric == "macro_f1"]
    return f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"


def answer(
    case: Case,
    name: str,
    part: str,
    rows: np.ndarray,
    codes: np.ndarray,
    classes: tuple[str, ...],
    p: np.ndarray,
) -> Predictions:
    unit = case.unit or "cells"
    units = np.asarray(
        case.cells.obs_names if case.unit is None else case.cells.obs[case.unit], dtype=str
    )
    return Predictions(
        task="annotation", rep=name, model="logistic-regression", split=part, fold_unit=unit,
        classes=classes, rows_m=rows, truth_m=codes[rows], predicted_m=p.argmax(axis=1),
        probability_mk=p, unit_m=units[rows], unit=unit, fold_m=np.zeros(len(rows), dtype=np.int64),
        seen="clean", baseline=name == "log counts",
    )  # fmt: skip


def narrowed(case: Case) -> AnnData:
    """The genes that most training cells of the source detect: the same for both encodings."""
    source = np.ones(case.cells.n_obs, bool) if case.target_n is None else ~case.target_n
    detected = np.asarray((case.cells.X[source] > 0).sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-detected, kind="stable")[:GENES])
    cells = case.cells[:, kept].copy()
    cells.obs_names_make_unique()
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--epochs", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases():
            if given.only in name:
                run(case(), given.epochs, Path(folder))


if __name__ == "__main__":
    main()
