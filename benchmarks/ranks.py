"""Rank tokens, timed beside the published procedure in plain NumPy: ``python benchmarks/ranks.py``.

On ``pbmc3k_500`` (10x) and ``darmanis2015`` (Smart-seq), the published vocabulary of the 30M series.

- plain: the columns of the vocabulary taken once, then per cell a slice, division by the total,
  times 10,000, division by the medians, argsort, list;
- plain, unstable: the same with NumPy's fastest sort, whose order of ties is anyone's;
- raw slices: the first without scipy's slices, NumPy on parts of the stored arrays;
- ours on one thread and on two.

All give the same token ids, which is checked first, ties planted too. Runs alternate; the ratios
are those of the fastest run of each, because another program can only slow a run down. Two threads
are timed on eight copies of the cells, where starting them does not count, beside two threads of
bare arithmetic: what the machine gives at that moment. Where other programs hold the cores, the
processor time of two threads over that of one says what they cost (1 is linear).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from concurrent.futures import ThreadPoolExecutor

import anndata as ad
import numba
import numpy as np
import scipy.sparse as sp

from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer

DATA = Path(os.environ.get("CELLWRIGHT_DATA", Path(__file__).resolve().parents[2] / "shared/data"))
LIMIT = 2048
WORK = 10_000_000


def plain(counts: sp.csr_matrix, columns, tokens, medians, kind="stable") -> list[list[int]]:
    """The published procedure, cell by cell; ``kind`` is that of the sort."""
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    coding = counts[:, columns]
    out = []
    for n in range(coding.shape[0]):
        row = coding[n]
        values = row.data / totals[n] * 10_000 / medians[row.indices]
        order = np.argsort(-values, kind=kind)
        out.append(tokens[row.indices][order][:LIMIT].tolist())
    return out


def raw_slices(counts: sp.csr_matrix, columns, tokens, medians) -> list[np.ndarray]:
    """The same on parts of the stored arrays."""
    place = np.full(counts.shape[1], -1)
    place[columns] = np.arange(columns.size)
    at, out = counts.indptr, []
    for n in range(counts.shape[0]):
        data = counts.data[at[n] : at[n + 1]]
        where = place[counts.indices[at[n] : at[n + 1]]]
        known = where >= 0
        genes = where[known]
        values = data[known] / data.sum(dtype=np.float64) * 10_000 / medians[genes]
        out.append(tokens[genes[np.argsort(-values, kind="stable")[:LIMIT]]])
    return out


def fastest(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of the fastest run of each, run in turn."""
    found = dict.fromkeys(ways, np.inf)
    for _ in range(repeats):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            found[way] = min(found[way], time.perf_counter() - start)
    return found


@numba.njit(nogil=True)
def arithmetic(times: int) -> float:
    x = 1.0
    for _ in range(times):
        x = x * 1.0000001 + 1e-9
    return x


def processor_seconds(run: Callable[[], object], repeats: int) -> float:
    """Seconds of all threads together, of the cheapest run."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def as_lists(found: tuple[np.ndarray, np.ndarray]) -> list[list[int]]:
    tokens, offsets = found
    return [part.tolist() for part in np.split(tokens, offsets[1:-1])]


def check_ties(vocabulary: RankVocabulary) -> None:
    """Few counts and few medians, so most values stand many times in a cell."""
    rng = np.random.default_rng(0)
    genes = 3000
    medians = rng.choice([0.5, 1.0, 2.0], genes)
    few = RankVocabulary(
        vocabulary.gene_ids[:genes],
        vocabulary.symbols[:genes],
        medians,
        vocabulary.token_ids_g[:genes],
        vocabulary.special,
    )
    counts = sp.csr_matrix(rng.integers(0, 4, (50, genes)))
    expected = plain(counts, np.arange(genes), few.token_ids_g, medians)
    if as_lists(RankedTokenizer(few).ranks(counts)) != expected:
        raise SystemExit("tied values are in another order")
    print("planted ties: token ids identical")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    asked = parser.parse_args()
    vocabulary = RankVocabulary.from_tsv(DATA / "geneformer_vocab/geneformer_gc30M_vocab.tsv.gz")
    check_ties(vocabulary)
    pool = ThreadPoolExecutor(2)
    arithmetic(1)
    for name in ("pbmc3k_500", "darmanis2015"):
        cells = ad.read_h5ad(next((DATA / name).glob("*.h5ad")))
        counts = sp.csr_matrix(cells.X)
        tokenizer = RankedTokenizer(vocabulary, max_tokens=LIMIT).for_genes(cells.var)
        columns = np.flatnonzero(tokenizer.genes_m_ >= 0)
        genes = tokenizer.genes_m_[columns]
        given = (counts, columns, vocabulary.token_ids_g[genes], vocabulary.medians_g[genes])
        expected = plain(*given)
        for threads in (1, 2):
            if as_lists(tokenizer.ranks(counts, threads=threads)) != expected:
                raise SystemExit(f"{name}: other token ids on {threads} threads")
        many = sp.vstack([counts] * 8, format="csr")
        seconds = fastest(
            {
                "plain": lambda given=given: plain(*given),
                "plain, unstable": lambda given=given: plain(*given, kind="quicksort"),
                "raw slices": lambda given=given: raw_slices(*given),
                "one": lambda t=tokenizer, c=counts: t.ranks(c),
                "two": lambda t=tokenizer, c=counts: t.ranks(c, threads=2),
                "arithmetic, one": lambda: [arithmetic(WORK), arithmetic(WORK)],
                "arithmetic, two": lambda: list(pool.map(arithmetic, [WORK, WORK])),
                "many, one": lambda t=tokenizer, c=many: t.ranks(c),
                "many, two": lambda t=tokenizer, c=many: t.ranks(c, threads=2),
            },
            asked.repeats,
        )
        cost = processor_seconds(
            lambda t=tokenizer, c=many: t.ranks(c, threads=2), asked.repeats
        ) / processor_seconds(lambda t=tokenizer, c=many: t.ranks(c), asked.repeats)
        n = counts.shape[0]
        print(f"{name}: {n} cells, {counts.nnz / n:,.0f} genes each; token ids identical")
        for way in ("plain", "plain, unstable", "raw slices", "one", "two"):
            print(f"  {way}: {n / seconds[way]:,.0f} cells/s")
        print(
            f"  one thread / plain: {seconds['plain'] / seconds['one']:.1f}× (bound 8); "
            f"/ plain, unstable: {seconds['plain, unstable'] / seconds['one']:.1f}×; "
            f"/ raw slices: {seconds['raw slices'] / seconds['one']:.1f}×"
        )
        print(
            f"  two threads / one, of eight copies: "
            f"{seconds['many, one'] / seconds['many, two']:.2f}× (of bare arithmetic "
            f"{seconds['arithmetic, one'] / seconds['arithmetic, two']:.2f}×); processor time "
            f"{cost:.2f}×"
        )


if __name__ == "__main__":
    main()
