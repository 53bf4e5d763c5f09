"""Which gene was perturbed, where the truth is known or planted: ``python benchmarks/reverse.py MODE``.

``planted``: a simulated screen of the preset ``norman`` (50 targets, 400 doubles of which 100 are unseen
and 100 validation, 400 cells a condition, as many as the whole published screen has), 500 and 2,000
genes, queries of 20 cells, own transcripts hidden: every method, given means of log-normalized values and
of square roots of counts (``--values``), beside the oracle, which knows all true shifts of log-normalized
expression and answers the same queries. Bound: the best method reaches 90 % of it in exact-set@1. An
oracle of the true shifts of square roots knows more; shares of it stand in a column of their own.

``null``: screens in which nothing was planted. Bound: the 95 % interval of the mean reciprocal rank holds
chance in 93 of 100. Genes of held-out doubles are rarer among those learned from, so that a method which
leans on how often a gene is perturbed, ``frequency`` above all, falls below the chance of a random order;
its permuted chance, with truths exchanged among test doubles, knows of that. ``--targets`` and
``--doubles`` make the screens smaller, for networks; ``--first`` begins at another seed.

``norman``: the public panel, each double left out in turn; all methods, strata, a permutation p. Bound:
the best network is at most 0.05 MRR below the best other method. Reads the folder ``CELLWRIGHT_DATA``
(default ``../shared/data``).

``size``: 100,000 simulated cells × 5,000 genes through ``cellwright reverse train`` to its default
stopping rule. Bound: 45 minutes, 6 GB. ``--file`` keeps the screen, or takes it.

``networks``: on that screen, seconds an epoch of cross-attention beside an MLP with hidden layers 219,
438, 291, 219, drawing of groups included. Bound: 10 times.

``number``: one or two genes, told of fresh cells of single perturbations and of unseen doubles of simulated
screens (``--targets``, ``--doubles``, ``--cells`` of a condition), beside an oracle of the true shifts and one number for all.

``half``: split-half retrieval of the preset over seeds, beside the real panel. Bound: 0.38 ± 0.05.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from cellwright.data.genes import gene_names
from cellwright.data.screen_settings import ScreenSettings, screen_settings
from cellwright.data.simulated_screen import simulate_screen, simulate_screen_to_file, truth_of
from cellwright.evaluation.intervals import exact
from cellwright.evaluation.target_ranking import judge_ranking
from cellwright.perturbation.queries import control_means, draw_queries
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.reverse_audit import only_genes, visibilities
from cellwright.perturbation.reverse_oracle import oracle, oracle_log_ratio
from cellwright.perturbation.reverse_sizes import learn_sizes
from cellwright.perturbation.reverse_splits import named_splits
from cellwright.perturbation.split_half import split_half
from cellwright.representations.expression import log_normalized
from cellwright.workflows.reverse_benchmark import ReverseBenchmark, reverse_benchmark
from cellwright.workflows.reverse_screen import values_of
from cellwright.workflows.reverse_train_cells import kept_back

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CELLWRIGHT_DATA", ROOT.parent / "shared" / "data"))
PANEL = DATA / "norman2019" / "norman2019_perturbench_counts.h5ad"
SPLIT, K = "ahlmann-eltze-2025", 20
QUICK = (
    "frequency",
    "own-z",
    "nearest-centroid",
    "knn",
    "additive",
    "additive-strength",
    "linear-inverted",
)
SLOW = ("logistic-regression", "random-forest", "xgboost")
NETWORKS = ("mlp", "attention", "multi-head", "graph", "cross-attention")
SHOWN = ("exact_set@1", "recall@2", "mrr")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "mode", choices=("planted", "null", "norman", "size", "networks", "half", "number")
    )
    options.add_argument("--method", action="append", help="repeatable; default all, null: quick")
    options.add_argument("--genes", type=int, nargs="+", default=[500, 2000])
    options.add_argument("--values", nargs="+", default=["log", "root"], help="planted")
    options.add_argument("--cells", type=int, help="of a condition; size: of the screen")
    options.add_argument("--most", type=int, default=10, help="queries of a perturbation")
    options.add_argument("--simulations", type=int, default=100)
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--file", type=Path, help="size: keep the screen here, or take it")
    options.add_argument("--epochs", type=int, help="networks: of each (3); null: of networks (10)")
    options.add_argument("--first", type=int, default=0, help="null: seed of the first simulation")
    options.add_argument("--targets", type=int, default=20, help="null, number")
    options.add_argument("--doubles", type=int, default=100, help="null, number")
    given = options.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    modes = {
        "planted": planted,
        "null": null,
        "norman": norman,
        "size": size,
        "networks": networks,
        "half": half,
        "number": number,
    }
    modes[given.mode](given)


def planted(given: argparse.Namespace) -> None:
    """Every method beside the oracle."""
    for genes in given.genes:
        for seed in given.seeds:
            settings = screen_settings(
                "norman",
                targets=50,
                doubles=400,
                genes=genes,
                cells=given.cells or 400,
                controls=4000,
                own_measured=1.0,
                seed=seed,
            )
            cells = simulate_screen(settings)
            start = time.perf_counter()
            oracles = {v: told_by_oracle(cells, given.most, 0, v) for v in ("log", "root")}
            print(
                f"\npreset norman, {genes:,} genes, seed {seed}: {cells.n_obs:,} cells, chance of "
                f"exact-set@1 {oracles['log'].chance['exact_set@1']:.4f}; oracles in "
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )
            tables = [
                hidden_rows(asked(cells, given, partitions=1, values=values)).assign(values=values)
                for values in given.values
            ]
            beside(pd.concat(tables), oracles)


def beside(table: pd.DataFrame, oracles: dict[str, pd.DataFrame]) -> None:
    """The methods' rows and the oracles', each with its share of the oracles' exact sets."""
    whole = {name: found.loc["exact_set@1", "value"] for name, found in oracles.items()}
    asked_of = {("oracle", name): found for name, found in oracles.items()}
    for key, found in table.groupby(["method", "values"], sort=False):
        asked_of[key] = found.set_index("metric")
    rows = []
    for (method, values), found in asked_of.items():
        exact = found.loc["exact_set@1", "value"]
        shares = {"share": exact / whole["log"], "of root's": exact / whole["root"]}
        rows.append(
            {"method": method, "values": values, **shares, **{m: said(found.loc[m]) for m in SHOWN}}
        )
    shown = pd.DataFrame(rows).sort_values("share", ascending=False)
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    first = shown[shown.method != "oracle"].iloc[0]
    print(
        f"best: {first.method} of {first['values']} values, {first.share:.1%} of the oracle (bound 90 "
        f"%): {'held' if first.share >= 0.9 else 'missed'}",
        flush=True,
    )


def told_by_oracle(cells: ad.AnnData, most: int, seed: int, values: str) -> pd.DataFrame:
    """What the oracle scores on the queries of the benchmark, one row per metric."""
    screen = read_screen(cells.obs, "condition")
    kept_g = visibilities(screen, gene_names(cells.var))[1].kept_g
    x = values_of(cells.X, values)
    split = named_splits(screen, SPLIT, seed)[0]
    queries = only_genes(
        draw_queries(
            x, screen, split.test, k=K, most=most, seed=seed + 1, controls=control_means(x, screen)
        ),
        kept_g,
    )
    known = oracle(truth_of(cells), screen.candidates, kept_g, size=2, values=values)
    unit = np.array([screen.conditions[code] for code in queries.condition_q])
    found = judge_ranking(known.score(queries), screen.targets_pc[queries.condition_q], unit)
    rows = {
        metric: {
            "value": one.value,
            "low": one.interval.low,
            "high": one.interval.high,
            "chance": one.chance,
        }
        for metric, one in found.items()
    }
    return pd.DataFrame(rows).T


def asked(
    cells: ad.AnnData, given: argparse.Namespace, partitions: int, values: str
) -> ReverseBenchmark:
    """The methods that were asked for."""
    return reverse_benchmark(
        cells,
        split=SPLIT,
        partitions=partitions,
        k=(K,),
        methods=given.method or (*QUICK, *SLOW, *NETWORKS),
        perturbation="condition",
        most=given.most,
        permutations=0,
        values=values,
    )


def hidden_rows(result: ReverseBenchmark) -> pd.DataFrame:
    """Rows of all test perturbations without own transcripts."""
    table = result.table
    return table[(table.genes == "hidden") & (table.stratum == "all")]


def said(row: pd.Series) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def null(given: argparse.Namespace) -> None:
    """How often the interval of the mean reciprocal rank holds chance, and how often p is below 0.05."""
    methods = given.method or QUICK
    found: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    start = time.perf_counter()
    for number, seed in enumerate(range(given.first, given.first + given.simulations)):
        settings = screen_settings(
            "norman",
            targets=given.targets,
            doubles=given.doubles,
            genes=200,
            cells=given.cells or 40,
            controls=400,
            own_measured=1.0,
            own_fold=0.0,
            strength=0.0,
            seed=seed,
        )
        result = reverse_benchmark(
            simulate_screen(settings),
            split="mambaperturb-2025",
            k=(K,),
            methods=methods,
            perturbation="condition",
            permutations=200,
            network={"epochs": given.epochs or 10} if set(methods) & set(NETWORKS) else None,
            seed=seed,
        )
        rows = hidden_rows(result)
        for row in rows[rows.metric == "mrr"].to_dict("records"):
            found[row["method"]].append(row)
        if number in (0, 9, 49):
            held = {m: sum(holds(r, "chance") for r in rows) for m, rows in found.items()}
            print(f"after {number + 1}, {time.perf_counter() - start:.0f} s: {held}", flush=True)
    for name, rows in found.items():
        n = len(rows)
        held = sum(holds(row, "chance") for row in rows)
        low, high = exact(held, n)
        own = sum(holds(row, "chance_permuted") for row in rows)
        less = np.array([row["value"] - row["chance"] for row in rows])
        expected = np.mean([row["chance_permuted"] - row["chance"] for row in rows])
        sure = sum(row["p"] <= 0.05 for row in rows)
        print(
            f"{name:22s} the interval holds chance in {held} of {n} [{low:.1%}, {high:.1%}] (bound 93 "
            f"%), permuted chance in {own}; p at most 0.05 in {sure}; MRR less chance "
            f"{less.mean():+.4f} ± {less.std() / n**0.5:.4f}, of which the split {expected:+.4f}"
        )


def holds(row: dict[str, float], chance: str) -> bool:
    """Whether the interval of a row holds its chance."""
    return bool(row["low"] <= row[chance] <= row["high"])


def norman(given: argparse.Namespace) -> None:
    """The public panel, leave-one-double-out."""
    result = reverse_benchmark(
        PANEL,
        split="leave-one-double-out",
        k=(K,),
        methods=given.method or (*QUICK, *SLOW, *NETWORKS),
        perturbation="condition",
    )
    print(result.text())
    genes, k = result.headline
    table = result.table
    rows = table[(table.genes == genes) & (table.k == k) & (table.stratum == "all")]
    rows = rows[rows.metric == "mrr"].set_index("method").sort_values("value", ascending=False)
    print(rows[["value", "low", "high", "chance", "p"]].to_string(float_format="{:.3f}".format))
    ours = [name for name in rows.index if name in NETWORKS]
    if ours and len(ours) < len(rows):
        rival = next(name for name in rows.index if name not in NETWORKS)
        less = rows.loc[rival, "value"] - rows.loc[ours[0], "value"]
        print(
            f"wins: {rows.index[0]}; best network {ours[0]} {-less:+.3f} beside {rival} (bound "
            f"-0.05): {'held' if less <= 0.05 else 'missed'}"
        )


def half(given: argparse.Namespace) -> None:
    """Split-half retrieval of the preset and of the real panel."""
    if PANEL.exists():
        real = ad.read_h5ad(PANEL)
        found = split_half(log_normalized(real.X), read_screen(real.obs, "condition"))
        print(f"real panel: hit@1 {found.hit:.3f}, {found.conditions} conditions", flush=True)
    seeds = given.seeds if len(given.seeds) > 1 else range(20)
    hits = []
    for seed in seeds:
        cells = simulate_screen(screen_settings("norman", seed=seed))
        found = split_half(log_normalized(cells.X), read_screen(cells.obs, "condition"))
        hits.append(found.hit)
    print(
        f"preset norman, {len(hits)} seeds: hit@1 {np.mean(hits):.3f}, standard deviation "
        f"{np.std(hits):.3f} (bound 0.38 ± 0.05 on average)"
    )


def number(given: argparse.Namespace) -> None:
    """Balanced accuracy of the estimated number of genes, beside the oracle's."""
    told: dict[str, list[float]] = {"estimated": [], "oracle": []}
    for seed in given.seeds:
        settings = screen_settings(
            "norman",
            targets=given.targets,
            doubles=given.doubles,
            genes=500,
            cells=given.cells or 120,
            controls=600,
            own_measured=1.0,
            seed=seed,
        )
        cells = simulate_screen(settings)
        screen = read_screen(cells.obs, "condition")
        kept_g = visibilities(screen, gene_names(cells.var))[1].kept_g
        x = log_normalized(cells.X)[:, kept_g]
        split = named_splits(screen, SPLIT, seed)[0]
        learned, fresh = kept_back(screen, screen.singles, share=0.3, k=K, seed=seed)
        controls = control_means(x, screen)
        found = learn_sizes(x, learned, split.train, split.val, k=K, controls=controls, seed=seed)
        known = [oracle(truth_of(cells), screen.candidates, kept_g, size=size) for size in (1, 2)]
        right: dict[str, list[tuple[float, int]]] = {"estimated": [], "oracle": []}
        for side, names, size in ((fresh, screen.singles, 1), (screen, split.test, 2)):
            queries = draw_queries(x, side, names, k=K, most=6, seed=seed + 1, controls=controls)
            cells_q = np.array([len(rows) for rows in queries.rows_q])
            ratio_q = oracle_log_ratio(known[0], known[1], queries, cells_q)
            answers = {
                "estimated": found.number(queries.shift_qg, cells_q),
                "oracle": np.where(ratio_q > 0, 2, 1),
            }
            for name, answer_q in answers.items():
                right[name].append((float((answer_q == size).mean()), len(names)))
        for name, shares in right.items():
            told[name].append(float(np.mean([share for share, _ in shares])))
        words = "; ".join(
            f"{name} {told[name][-1]:.3f} (one {shares[0][0]:.2f}, two {shares[1][0]:.2f})"
            for name, shares in right.items()
        )
        print(f"seed {seed}: balanced accuracy {words}; one number for all 0.5", flush=True)
        print(f"  {found.sentence}", flush=True)
    for name, shares in told.items():
        error = np.std(shares, ddof=1) / len(shares) ** 0.5 if len(shares) > 1 else np.nan
        print(f"{name}: {np.mean(shares):.3f} ± {error:.3f} over {len(shares)} screens")


def screen_file(given: argparse.Namespace, folder: Path) -> Path:
    """The large screen: the one that is there, or a new one."""
    cells = given.cells or 100_000
    settings = ScreenSettings(
        targets=50,
        doubles=200,
        genes=5000,
        cells=max(2, int(cells * 0.96) // 250),
        controls=int(cells * 0.04),
        counts_per_gene=0.3,
    )
    file: Path = given.file or folder / "screen.h5ad"
    start = time.perf_counter()
    if not file.exists():
        simulate_screen_to_file(file, settings)
    print(
        f"{file.name}: {file.stat().st_size / 1e6:.0f} MB, simulated in "
        f"{time.perf_counter() - start:.0f} s (0 where it was there)",
        flush=True,
    )
    return file


def size(given: argparse.Namespace) -> None:
    """Wall time and memory of a training to its stopping rule."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = screen_file(given, folder)
        command = ["cellwright", "reverse", "train", str(file), "-o", str(folder / "run"), "-q"]
        seconds, busy, peak = timed(command)
        told = json.loads((folder / "run" / "metrics.json").read_text())
        print(
            f"reverse train, default stopping rule: {seconds / 60:.1f} minutes (bound 45; "
            f"{busy / 60:.1f} of processor time), peak {peak / 1e9:.2f} GB (bound 6), "
            f"{told.get('epochs')} epochs",
        )


def timed(command: Sequence[str]) -> tuple[float, float, int]:
    """Seconds, seconds of processors and peak bytes of a command, read from its own process."""
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    busy = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - start, busy, usage.ru_maxrss * 1024


def networks(given: argparse.Namespace) -> None:
    """Seconds an epoch of cross-attention and of a wide MLP on the same cells, in turn."""
    from cellwright.training.reverse_settings import NetworkSettings
    from cellwright.workflows.reverse_networks import fit_network, network_cells

    with tempfile.TemporaryDirectory() as name:
        cells = ad.read_h5ad(screen_file(given, Path(name)))
    screen = read_screen(cells.obs, "condition", batch="batch")
    split = named_splits(screen, SPLIT, 0)[0]
    kept_g = visibilities(screen, gene_names(cells.var))[1].kept_g
    learned = network_cells(log_normalized(cells.X), screen, split.train, split.val, kept_g=kept_g)
    del cells
    plain = NetworkSettings(epochs=given.epochs or 3, patience=None)
    both = {
        "MLP": replace(plain, kind="mlp", hidden=(219, 438, 291, 219)),
        "cross-attention": replace(plain, kind="cross-attention"),
    }
    spent: dict[str, float] = {}
    for name, settings in both.items():
        fitted = fit_network(learned, settings)
        spent[name] = float(np.median([row["seconds"] for row in fitted.history]))
        print(f"{name}: {spent[name]:.1f} s an epoch, {fitted.seconds:.0f} s in all", flush=True)
    ratio = spent["cross-attention"] / spent["MLP"]
    print(f"ratio {ratio:.1f} (bound 10): {'held' if ratio <= 10 else 'missed'}")


if __name__ == "__main__":
    main()
