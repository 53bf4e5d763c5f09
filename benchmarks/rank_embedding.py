"""Embedding ranked cells beside ``transformers.BertModel``: ``python benchmarks/rank_embedding.py``.

Cells of ``pbmc3k_500`` and ``darmanis2015`` as the published 30M vocabulary ranks them, 2,048 tokens
at most; 12 layers × 512, float32, random weights, the same in all three ways:

- ours: packed cells, longest first;
- ``BertModel`` on padded batches in order of arrival;
- ``BertModel`` on padded batches sorted by length.

The embedding is the mean over tokens of the last layer but one, as the 30M series is used; ours does
not compute the last layer, ``BertModel`` cannot help it (``--layer -1`` compares the last, the same
work on both sides). The ways take turns batch by batch, so that what else the machine does falls on
all alike. Prints seconds, cells per second, the two ratios, how often padding makes BertModel compute
a token or a pair of tokens, and the largest difference.

Cells arrive shuffled, half of them from each set (``--sets`` for one alone: cells of darmanis2015
fill 2,048 positions, so that there is next to nothing to pad).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# As the command line sets it: threads that wait must sleep where others share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import anndata as ad
import numpy as np
import torch
from transformers import BertConfig, BertModel

from cellwright.models.rank_encoder import RankEncoder, RankShape
from cellwright.representations.geneformer_files import sources
from cellwright.representations.geneformer_pooling import batches_by_length
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer

HERE = Path(__file__).resolve().parent
SETS = ("pbmc3k_500", "darmanis2015")
POSITIONS = 2048


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--cells", type=int, default=200)
    options.add_argument("--batch", type=int, default=16, help="cells per batch of BertModel")
    options.add_argument("--layer", type=int, default=-2)
    options.add_argument("--sets", nargs="+", default=SETS)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    root = Path(os.environ.get("CELLWRIGHT_DATA", HERE.parent.parent / "shared" / "data"))
    vocabulary = RankVocabulary.from_tsv(
        root / "geneformer_vocab" / "geneformer_gc30M_vocab.tsv.gz"
    )
    rng = np.random.default_rng(given.seed)
    cells = ranked_cells(root, given.sets, vocabulary, given.cells, rng)
    lengths = np.array([len(cell) for cell in cells])
    print(
        f"{len(cells)} cells of {' and '.join(given.sets)}, tokens: mean {lengths.mean():.0f}, "
        f"median {np.median(lengths):.0f}, {(lengths == POSITIONS).sum()} cut to {POSITIONS}; "
        f"{torch.get_num_threads()} threads, BertModel {given.batch} cells a batch"
    )
    theirs, ours = models(vocabulary.n_tokens, given.seed)
    arrival = parts(np.arange(len(cells)), given.batch)
    by_length = parts(np.argsort(-lengths, kind="stable"), given.batch)
    chunks = {
        "ours": batches_by_length(lengths),
        "BertModel, order of arrival": arrival,
        "BertModel, sorted by length": by_length,
    }
    way: dict[str, Callable[[list[np.ndarray]], torch.Tensor]] = {
        "ours": lambda some: packed(ours, some, given.layer),
        "BertModel, order of arrival": lambda some: padded(theirs, some, given.layer),
        "BertModel, sorted by length": lambda some: padded(theirs, some, given.layer),
    }
    seconds = dict.fromkeys(way, 0.0)
    vectors = {name: np.zeros((len(cells), 512), dtype=np.float32) for name in way}
    with torch.inference_mode():
        for run in way.values():
            run(cells[:2])
        for name, rows in in_turn(chunks, lengths):
            start = time.perf_counter()
            found = way[name]([cells[row] for row in rows])
            seconds[name] += time.perf_counter() - start
            vectors[name][rows] = found.numpy()
    for name, spent in seconds.items():
        print(f"{name:<28} {spent:7.1f} s  {len(cells) / spent:5.2f} cells/s")
    for name in list(way)[1:]:
        most = np.concatenate([np.full(len(rows), lengths[rows].max()) for rows in chunks[name]])
        difference = np.abs(vectors["ours"] - vectors[name]).max()
        print(
            f"ours against {name}: {seconds[name] / seconds['ours']:.2f}x (padding computes each "
            f"token {most.sum() / lengths.sum():.2f} times, each pair "
            f"{(most**2).sum() / (lengths**2).sum():.2f} times), largest difference {difference:.1e}"
        )


def ranked_cells(
    root: Path, sets: list[str], vocabulary: RankVocabulary, cells: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Token ids of cells of all sets, as many of each, shuffled."""
    found = []
    for number, name in enumerate(sets):
        data = ad.read_h5ad(next((root / name).glob("*.h5ad")))
        tokenizer = RankedTokenizer(vocabulary, max_tokens=POSITIONS).for_genes(data.var)
        wanted = len(range(number, cells, len(sets)))
        rows = rng.choice(data.n_obs, wanted, replace=False)
        tokens, offsets = tokenizer.ranks(data.X[np.sort(rows)])
        found += np.split(tokens.astype(np.int64), offsets[1:-1])
    return [found[place] for place in rng.permutation(len(found))]


def models(tokens: int, seed: int) -> tuple[BertModel, RankEncoder]:
    """The same random weights in both."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokens,
        hidden_size=512,
        num_hidden_layers=12,
        num_attention_heads=8,
        intermediate_size=1024,
        max_position_embeddings=POSITIONS,
        hidden_act="relu",
        pad_token_id=0,
    )
    theirs = BertModel(config, add_pooling_layer=False).eval()
    shape = RankShape(tokens, 512, 12, 8, 1024, POSITIONS)
    ours = RankEncoder(shape, head=False).eval()
    weights = theirs.state_dict()
    ours.load_state_dict(
        {name: torch.cat([weights[s] for s in sources(name)]) for name in ours.state_dict()}
    )
    return theirs, ours


def packed(model: RankEncoder, cells: list[np.ndarray], layer: int) -> torch.Tensor:
    lengths = [len(cell) for cell in cells]
    (hidden_td,) = model(torch.from_numpy(np.concatenate(cells)), lengths, hidden_layers=[layer])
    return torch.stack([part.mean(0) for part in hidden_td.split(lengths)])


def padded(model: BertModel, cells: list[np.ndarray], layer: int) -> torch.Tensor:
    longest = max(len(cell) for cell in cells)
    ids_nt = torch.zeros(len(cells), longest, dtype=torch.int64)
    mask_nt = torch.zeros(len(cells), longest, dtype=torch.int64)
    for row, cell in enumerate(cells):
        ids_nt[row, : len(cell)] = torch.from_numpy(cell)
        mask_nt[row, : len(cell)] = 1
    states = model(ids_nt, attention_mask=mask_nt, output_hidden_states=layer != -1)
    hidden_ntd = states.last_hidden_state if layer == -1 else states.hidden_states[layer]
    return (hidden_ntd * mask_nt.unsqueeze(-1)).sum(1) / mask_nt.sum(1, keepdim=True)


def parts(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def in_turn(
    chunks: dict[str, list[np.ndarray]], lengths: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """The next batch of whichever way is behind in its share of tokens."""
    done = dict.fromkeys(chunks, 0)
    left = {name: list(rows) for name, rows in chunks.items()}
    while any(left.values()):
        name = min((n for n in left if left[n]), key=lambda n: done[n])
        rows = left[name].pop(0)
        done[name] += int(lengths[rows].sum())
        yield name, rows


if __name__ == "__main__":
    main()
