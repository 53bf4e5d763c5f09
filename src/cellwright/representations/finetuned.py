"""A run fine-tuned on labels: a representation like any other, which also names classes."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_folder
from cellwright.data.blocks import iter_blocks
from cellwright.data.hashes import cell_hashes
from cellwright.data.reading import read_cells
from cellwright.errors import RunError
from cellwright.models.freezing import quick_copy
from cellwright.models.heads import BinClassifier, ClassHead, RankClassifier
from cellwright.representations.encoder import BLOCK_CELLS, EncoderRun
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.rank_run import RankRun
from cellwright.tokens.vocabulary import Alignment
from cellwright.training.finetuning import CellClassifier, FittedCellClassifier
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.labelled import BinTokens, CellTokens, RankTokens, answers
from cellwright.training.tensors import read_tensors, write_tensors

FACTS, HEAD, LABELLED = "finetuned.json", "head.safetensors", "labelled.txt.gz"
SCHEMA = "cellwright.finetuned/1"
# The last layer: fine-tuning gives it a new purpose.
HIDDEN_LAYER = -1

Base = EncoderRun | GeneformerRun


@dataclass(frozen=True)
class FinetunedRun:
    """A run with a fine-tuned encoder and a head: frozen, so that ``fit`` changes nothing.

    run: what was fine-tuned, with the new weights; head: from a cell's vector to classes; classes:
    their names; label: the column they came from; labelled: the cells whose labels were used
    (train), chose when to stop (val), or were held out (test); head_pooling: how the vectors are
    pooled that the head reads.
    """

    run: Base
    head: ClassHead
    classes: tuple[str, ...]
    label: str
    labelled: FittedCells
    head_pooling: str

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def path(self) -> Path:
        return self.run.path

    @property
    def model(self) -> Any:
        return self.run.model

    @property
    def vocabulary(self) -> Any:
        return self.run.vocabulary

    @property
    def pooling(self) -> str:
        return self.run.pooling

    def fit(self, cells: Any) -> FinetunedRun:
        """Return the run unchanged: it is trained already."""
        return self

    def transform(self, cells: AnnData | Path | str, **how: Any) -> NDArray[np.float32]:
        """Embed cells as the run underneath does, with the fine-tuned weights."""
        return self.run.transform(cells, **how)

    def probability(
        self,
        cells: AnnData | Path | str,
        *,
        layer: str | None = None,
        assume_counts: bool = False,
    ) -> NDArray[np.float64]:
        """Class probabilities, (n, classes), columns in the order of ``classes``.

        Raises
        ------
        DataError
            As for ``transform``.
        """
        tokens = cell_tokens(self.run, cells, layer=layer, assume_counts=assume_counts)
        model = _classifier(self.run.with_(pooling=self.head_pooling), self.head)
        logits_nk = answers(model, tokens, np.arange(len(tokens)), torch.device("cpu"))
        return np.asarray(logits_nk.double().softmax(-1).numpy(), dtype=np.float64)

    def align(self, cells: AnnData) -> Alignment:
        """Match the genes of ``cells`` to the run's."""
        return self.run.align(cells)

    def gene_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Gene ids and one vector per gene, (genes, dims), after fine-tuning."""
        return self.run.gene_vectors()

    def untrained(self) -> Base:
        """The same network with random weights."""
        return self.run.untrained()

    def with_(self, **changed: Any) -> FinetunedRun:
        """The same run pooled another way or renamed; the head stays with the pooling it learned.

        Raises
        ------
        SettingsError
            For an unknown pooling or layer.
        """
        return replace(self, run=self.run.with_(**changed))

    def seen(
        self, cells: AnnData, *, layer: str | None = None, assume_counts: bool = False
    ) -> NDArray[np.str_]:
        """Per cell ``seen-labelled`` where its label was learned from or chose when to stop, else
        what the pretrained run has seen."""
        hashes_n, whole = _hashes(self.run, cells, layer, assume_counts)
        names_n = np.asarray(cells.obs_names, dtype=np.str_)
        used_n = self.labelled.seen(names_n, hashes_n, same_genes=whole) != "clean"
        before_n = self.run.seen(cells, layer=layer, assume_counts=assume_counts)
        return np.where(used_n, "seen-labelled", before_n)

    def save(self, path: Path) -> None:
        """Write what ``load`` needs into a new folder."""
        with atomic_folder(path) as temporary:
            inner = temporary / "run"
            self.run.save(inner)
            if isinstance(self.run, EncoderRun | RankRun):  # which copy the weights they came with
                weights = {k: v.cpu().contiguous() for k, v in self.model.state_dict().items()}
                write_tensors(inner / "model.safetensors", weights)
            for entry in sorted(inner.iterdir()):
                entry.rename(temporary / entry.name)
            inner.rmdir()
            write_tensors(temporary / HEAD, self.head.state_dict())
            self.labelled.save(temporary / LABELLED)
            facts = {
                "schema": SCHEMA,
                "name": self.name,
                "label": self.label,
                "classes": list(self.classes),
            }
            (temporary / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def with_head(run: Base, folder: Path | str, *, name: str | None = None) -> Base | FinetunedRun:
    """The run of a folder with the head that stands there; a folder without one gives the run.

    ``name`` replaces what it was called when it was fine-tuned.

    Raises
    ------
    RunError
        If the files of the head are damaged or do not fit the run.
    """
    folder = Path(folder)
    if not (folder / FACTS).is_file():
        return run
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        classes, label = tuple(map(str, facts["classes"])), str(facts["label"])
        called = str(facts["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / FACTS} does not describe a fine-tuned run: {error}") from None
    weights = read_tensors(folder / HEAD)
    head = ClassHead(pooled_width(run), len(classes), 0.0)
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise RunError(f"{folder / HEAD} does not fit the run and its classes: {detail}") from None
    run = run.with_(name=name or called)
    if isinstance(run, GeneformerRun):
        run = run.with_(layer_of=HIDDEN_LAYER)
    return FinetunedRun(
        run, head.eval(), classes, label, FittedCells.load(folder / LABELLED), run.pooling
    )


def base_of(run: Base | FinetunedRun) -> Base:
    """The run underneath a fine-tuned one."""
    return run.run if isinstance(run, FinetunedRun) else run


def new_classifier(run: Base, classes: int, dropout: float = 0.1) -> CellClassifier:
    """A copy of the run's encoder with a new head, which pools as the run does."""
    return _classifier(run, ClassHead(pooled_width(run), classes, dropout))


def pooled_width(run: Base) -> int:
    """Dims of a cell's vector."""
    if isinstance(run, GeneformerRun):
        return int(run.model.shape.width)
    dims = int(run.model.gene_gd.shape[1])
    if run.pooling == "mean":
        return dims
    latents = getattr(run.model, "latent_ld", None)
    return dims * len(run.vocabulary if latents is None else latents)


def random_start(run: Base, seed: int) -> Base:
    """The run's architecture with random weights of a seed."""
    if isinstance(run, GeneformerRun):
        return run.untrained(seed)
    return replace(run, settings=replace(run.settings, seed=seed)).untrained()


def finetuned_run(
    run: Base,
    fitted: FittedCellClassifier,
    cells: AnnData,
    parts_n: NDArray[np.str_],
    *,
    classes: Sequence[str],
    label: str,
    name: str,
    layer: str | None = None,
    assume_counts: bool = False,
) -> FinetunedRun:
    """What was fitted as a representation of its own.

    Parameters
    ----------
    cells, parts_n
        The cells with labels, and what each was for: train, val, or test (held out).
    """
    hashes_n, _ = _hashes(run, cells, layer, assume_counts)
    names_n = np.asarray(cells.obs_names, dtype=np.str_)
    # Of the run's own kind, as it was copied from the run.
    encoder: Any = fitted.model.encoder
    changed: Base = replace(run, model=encoder, name=name)
    if isinstance(changed, GeneformerRun):
        changed = replace(changed, layer_of=HIDDEN_LAYER)
    labelled = FittedCells(names_n, parts_n.astype(np.str_), hashes_n)
    return FinetunedRun(changed, fitted.model.head, tuple(classes), label, labelled, run.pooling)


def cell_tokens(
    run: Base,
    cells: AnnData | Path | str,
    *,
    layer: str | None = None,
    assume_counts: bool = False,
) -> CellTokens:
    """Cells as the run's encoder takes them, in memory.

    Raises
    ------
    DataError
        If there are no counts, or too few of them are of genes that the run knows.
    """
    cells = read_cells(cells)
    if isinstance(run, GeneformerRun):
        run.coverage(cells, layer=layer, assume_counts=assume_counts)
        ids: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)]
        lengths: list[NDArray[np.int64]] = []
        for packed in run._packed(cells, layer, assume_counts):
            ids.append(packed.ids_t)
            lengths.append(packed.lengths_n)
        return RankTokens(np.concatenate(ids), np.r_[0, np.cumsum(np.concatenate(lengths))])
    alignment = run.align(cells)
    bins = [
        run.tokenizer.bins(run.vocabulary.take(block.counts_ng, alignment)).astype(np.uint8)
        for block in iter_blocks(
            cells, layer=layer, assume_counts=assume_counts, block_cells=BLOCK_CELLS
        )
    ]
    return BinTokens(np.concatenate(bins), alignment.columns_g < 0)


def _classifier(run: Base, head: ClassHead) -> CellClassifier:
    if isinstance(run, GeneformerRun):
        special = list(run.vocabulary.special.values())
        return RankClassifier(quick_copy(run.model), head, run.pooling, special, HIDDEN_LAYER)
    return BinClassifier(copy.deepcopy(run.model), head, run.pooling)


def _hashes(
    run: Base, cells: AnnData, layer: str | None, assume_counts: bool
) -> tuple[NDArray[np.uint64], bool]:
    """A hash per cell over the genes of the vocabulary, and whether the data have them all."""
    genes = run.vocabulary.genes if isinstance(run, GeneformerRun) else run.vocabulary
    alignment = genes.align(cells.var)
    hashes = [
        cell_hashes(genes.take(block.counts_ng, alignment))
        for block in iter_blocks(
            cells, layer=layer, assume_counts=assume_counts, block_cells=BLOCK_CELLS
        )
    ]
    return np.concatenate(hashes), alignment.coverage == 1.0
