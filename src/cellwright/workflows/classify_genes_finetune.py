"""The fine-tuned token classifier among the methods: one training per fold and rank run."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import SettingsError
from cellwright.evaluation.folds import Design, Fold
from cellwright.evaluation.gene_classification import GeneTask
from cellwright.interfaces import Predictions
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.geneformer_pooling import PackedCells
from cellwright.tokens.ranked import RankedTokenizer
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.training.finetuning import finetune_genes
from cellwright.workflows.classify_genes_subject import GeneSubject

log = logging.getLogger("cellwright.workflows.classify_genes")

MODEL = "fine-tuned"
NO_LABEL = -100
# Layers left to train where nothing else is said, as the published gene classifier has it.
TRAINED_LAYERS = 2


@dataclass(frozen=True)
class Tuning:
    """Settings of the token classifier; freeze_layers None: all layers but two; max_cells:
    cells learned from, at most (answers are means over all cells)."""

    freeze_layers: int | None = None
    epochs: int = 10
    learning_rate: float = 5e-4
    max_cells: int = 500

    def settings(self, layers: int, seed: int) -> FinetuneSettings:
        """For an encoder of so many layers."""
        frozen = self.freeze_layers
        return FinetuneSettings(
            seed=seed,
            freeze_layers=max(layers - TRAINED_LAYERS, 0) if frozen is None else frozen,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            max_cells=self.max_cells,
        )


def finetuned(
    task: GeneTask,
    subject: GeneSubject,
    kept: NDArray[np.int64],
    tuning: Tuning,
    seed: int,
) -> list[Predictions]:
    """Answers of the fine-tuned token classifier of every rank run in every design.

    In each fold the tokens of the training genes have labels and nothing else does; the genes held
    out stand in the cells, as unlabelled tokens that say nothing of their class.

    Raises
    ------
    SettingsError
        If no rank run was asked for.
    DataError
        If a gene held out stands in no cell.
    """
    runs = [(r, r.run) for r in subject.runs if isinstance(r.run, GeneformerRun)]
    if not runs or subject.counts_ng is None or subject.cells is None:
        raise SettingsError(
            "fine-tuning a token classifier needs a rank run (--rep RUN) and cells (--cells)"
        )
    answers = []
    for found, run in runs:
        tokenizer = RankedTokenizer(run.vocabulary, max_tokens=run.model.shape.positions)
        ranks = tokenizer.for_genes(run.align(subject.cells)).ranks(subject.counts_ng)
        packed = PackedCells(*ranks)
        token_g = run.vocabulary.token_ids_g[found.place_g[kept]]
        for design in task.designs:
            fold_answer = _FoldAnswer(found.name, run, packed, token_g, task, tuning, seed, design)
            answers.append(
                task.collect(f"{found.name}:{MODEL}", "token-classifier", design, fold_answer)
            )
    return answers


@dataclass(frozen=True)
class _FoldAnswer:
    """Trains on one fold and answers for its held-out genes, (test, k)."""

    name: str
    run: GeneformerRun
    packed: PackedCells
    token_g: NDArray[np.int64]
    task: GeneTask
    tuning: Tuning
    seed: int
    design: Design

    def __call__(self, fold: Fold, number: int) -> NDArray[np.float64]:
        start = time.perf_counter()
        shape = self.run.model.shape
        label_v = np.full(shape.tokens, NO_LABEL, dtype=np.int64)
        label_v[self.token_g[fold.train]] = self.task.codes_g[fold.train]
        settings = self.tuning.settings(shape.layers, self.seed + number)
        fitted = finetune_genes(self.run, self.packed, label_v, len(self.task.classes), settings)
        log.info(
            "%s fine-tuned, fold %d of %d of the %s design: best epoch %d, %.1f s",
            *(self.name, number + 1, len(self.design.folds), self.design.name),
            *(fitted.best_epoch, time.perf_counter() - start),
        )
        return fitted.gene_probability(self.packed)[self.token_g[fold.test]]
