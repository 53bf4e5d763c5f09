"""Cells of a file -> rank tokens in a Hugging Face ``datasets`` folder, a block at a time."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.atomic import atomic_folder
from cellwright.data.blocks import iter_blocks
from cellwright.data.disk.arrays import usable_cores
from cellwright.data.matrix import layer_in_use, matrix_of, some_rows, stored
from cellwright.data.rank_corpus_writing import CorpusWriter, writing_corpus
from cellwright.data.reading import read_cells
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import Check
from cellwright.tokens.rank_coverage import judge_coverage
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer, SortDtype
from cellwright.workflows.rank_tokenizer import (
    FIT,
    fitted_tokenizer,
    named_tokenizer,
    save_tokenizer,
)

FACTS = "cellwright.json"
NAMES = "obs_names"

log = logging.getLogger("cellwright.tokenize")


@dataclass(frozen=True)
class Tokenized:
    """What was written: n_obs cells with n_tokens tokens; n_filtered cells left out by
    ``filter_pass``, n_empty without a gene of the vocabulary; n_full cells that fill the limit, most of them cut;
    n_rare: genes with a median of fewer than ten cells; coverage: share of the cells' counts inside the vocabulary; rule: how genes were ranked."""

    out: Path
    n_obs: int
    n_tokens: int
    n_filtered: int
    n_empty: int
    n_full: int
    coverage: float
    rule: str
    columns: list[str]
    n_rare: int
    checks: list[Check]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "cellwright.tokenize/1",
            **self.__dict__,
            "out": str(self.out),
            "checks": [check.to_dict() for check in self.checks],
        }

    def text(self) -> str:
        lines = [
            f"wrote {self.out}: {self.n_obs:,} cells, {self.n_tokens / self.n_obs:,.0f} tokens "
            f"each on average; {self.rule}",
            f"counts inside the vocabulary: {self.coverage:.1%}",
        ]
        if self.n_filtered:
            lines.append(f"left out by obs['filter_pass']: {self.n_filtered:,} cells")
        if self.n_empty:
            lines.append(f"left out without a gene of the vocabulary: {self.n_empty:,} cells")
        if self.n_full:
            lines.append(f"cells that fill all tokens: {self.n_full:,} of {self.n_obs:,}")
        if self.n_rare:
            lines.append(f"genes with medians of fewer than ten cells: {self.n_rare:,}")
        return "\n".join(lines)


def tokenize(
    cells: AnnData | Path | str,
    out: Path | str,
    *,
    vocabulary: RankedTokenizer | RankVocabulary | Path | str,
    medians: Path | str | None = None,
    symbols: Path | str | None = None,
    columns: Sequence[str] = (),
    max_tokens: int | None = None,
    sort_dtype: SortDtype | None = None,
    with_cls: bool = False,
    total_counts: str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    threads: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tokenized:
    """Write the rank tokens of cells as a folder that Hugging Face ``datasets`` loads.

    Its columns are ``input_ids``, ``length``, ``obs_names`` and those chosen; the tokenizer stands
    beside them, so the folder itself can be given as ``vocabulary`` for other cells. Cells with a
    ``filter_pass`` other than 1 and cells without a gene of the vocabulary are left out.

    Parameters
    ----------
    cells
        AnnData or a path with raw counts of all genes measured.
    out
        The folder to write.
    vocabulary
        A table, a run or folder of tokens, a pickled token dictionary (with ``medians``,
        ``symbols``), or ``"fit"``: nonzero medians of these cells' train part.
    columns
        Columns of ``obs`` to keep.
    max_tokens, sort_dtype
        As for :class:`~cellwright.tokens.ranked.RankedTokenizer`; default those of ``vocabulary``.
    with_cls
        With ``"fit"``: whether ``<cls>`` and ``<eos>`` frame every cell.
    total_counts
        Column of ``obs`` with all counts of each cell, where genes were cut away before.
    threads
        Default: the cores at hand, at most 4.
    progress
        Called with cells done and cells to do.

    Raises
    ------
    DataError
        If the cells hold no counts, or less than 10 % of their counts are in the vocabulary.
    SettingsError, RunError
        If a setting cannot work, or ``out`` exists and ``force`` is False.
    """
    from_file = not isinstance(cells, AnnData)
    _refuse_foreign(Path(out))
    subject = read_cells(cells, backed=from_file)
    try:
        obs = subject.obs
        kept = [_known(obs, name) for name in columns]
        fit = isinstance(vocabulary, str) and vocabulary == FIT
        if fit and (medians is not None or symbols is not None):
            raise SettingsError("--medians and --symbols go with a pickled token dictionary")
        if with_cls and not fit:
            raise SettingsError(
                "--cls goes with --vocabulary fit; another vocabulary has its special tokens"
            )
        rows = passing(obs)
        totals_n = None if total_counts is None else _totals(obs, total_counts)
        # Named first: a wrong name is said before any work.
        named = None if fit else named_tokenizer(
            vocabulary, medians=medians, symbols=symbols, max_tokens=max_tokens,
            sort_dtype=sort_dtype,
        )  # fmt: skip
        with (
            atomic_folder(out, force=force) as folder,
            writing_corpus(folder, [NAMES, *kept]) as writer,
        ):
            tokenizer = named or fitted_tokenizer(
                subject,
                rows,
                with_cls=with_cls,
                totals_n=totals_n,
                max_tokens=max_tokens,
                sort_dtype=sort_dtype,
                layer=layer,
                assume_counts=assume_counts,
            )
            tokenizer = tokenizer.for_genes(subject.var)
            job = _Job(tokenizer, subject, obs[kept], totals_n, threads or min(4, usable_cores()))
            blocks = iter_blocks(subject, layer=layer, rows=rows, assume_counts=assume_counts)
            job.refuse_early(layer)
            for block in blocks:
                job.add(block.counts_ng, block.obs_names, block.rows, writer)
                if progress is not None:
                    progress(job.n_done, rows.size)
            check = job.judged()
            if writer.n_cells == 0:
                raise DataError("not one cell has a gene of the vocabulary")
            save_tokenizer(tokenizer, folder)
            result = Tokenized(
                out=Path(out),
                n_obs=writer.n_cells,
                n_tokens=writer.n_tokens,
                n_filtered=subject.n_obs - rows.size,
                n_empty=rows.size - writer.n_cells,
                n_full=job.n_full,
                coverage=job.coverage,
                rule=tokenizer.rule,
                columns=list(writer.columns),
                n_rare=len(tokenizer.vocabulary_.rare),
                checks=[] if check is None else [check],
            )
            facts = result.to_dict() | {"out": Path(out).name}
            (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    finally:
        if subject.isbacked and from_file:
            subject.file.close()
    return result


class _Job:
    """Blocks tokenized so far."""

    def __init__(
        self,
        tokenizer: RankedTokenizer,
        cells: AnnData,
        obs: pd.DataFrame,
        totals_n: NDArray[np.float64] | None,
        threads: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.cells = cells
        self.obs = obs
        self.totals_n = totals_n
        self.threads = threads
        self.n_done = 0
        self.n_full = 0
        self._counts_m = np.zeros(tokenizer.n_genes)
        self._outside = 0.0

    @property
    def coverage(self) -> float:
        """Share of the counts inside the vocabulary."""
        inside = self._counts_m[self.tokenizer.genes_m_ >= 0].sum()
        return float(inside / max(self._counts_m.sum() + self._outside, 1e-300))

    def add(
        self,
        counts_ng: Any,
        names: NDArray[np.str_],
        rows: NDArray[np.int64],
        writer: CorpusWriter,
    ) -> None:
        totals_n = None if self.totals_n is None else self.totals_n[rows]
        tokens, offsets = self.tokenizer.ranks(counts_ng, totals_n=totals_n, threads=self.threads)
        self._tally(counts_ng, totals_n)
        lengths_n = np.diff(offsets)
        special = 0 if self.tokenizer.vocabulary_.cls_id is None else 2
        self.n_full += int((lengths_n == self.tokenizer.limit).sum())
        full = lengths_n > special
        self.n_done += full.size
        if not full.any():
            return
        obs = self.obs.iloc[rows[full]].reset_index(drop=True)
        obs.insert(0, NAMES, names[full].astype(object))
        kept = tokens[np.repeat(full, lengths_n)] if not full.all() else tokens
        writer.add(kept, np.concatenate([[0], np.cumsum(lengths_n[full])]), obs)

    def refuse_early(self, layer: str | None) -> None:
        """Judge the coverage on some cells, before all are read for nothing."""
        name = layer_in_use(self.cells, layer)
        matrix = matrix_of(self.cells, name)
        on_disk = stored(matrix, name)
        if on_disk is not None and on_disk.format == "csc":
            return  # stored by gene: a few cells cost as much as all
        self._tally(some_rows(self.cells, matrix, name), None)
        if self._counts_m.sum() > 0:
            self._judge()
        self._counts_m[:] = 0

    def judged(self) -> Check | None:
        """The verdict on all cells; a warning is said too."""
        check = self._judge()
        if check is not None:
            log.warning("%s. %s", check.sentence, check.remedy)
        return check

    def _judge(self) -> Check | None:
        vocabulary = self.tokenizer.vocabulary_
        return judge_coverage(
            self.coverage,
            vocabulary.gene_ids,
            vocabulary.symbols,
            self.cells.var,
            self.tokenizer.genes_m_ >= 0,
            self._counts_m,
        )

    def _tally(self, counts_ng: Any, totals_n: NDArray[np.float64] | None) -> None:
        sums_m = np.asarray(counts_ng.sum(axis=0, dtype=np.float64)).ravel()
        self._counts_m += sums_m
        if totals_n is not None:
            self._outside += float(totals_n.sum() - sums_m.sum())


def _refuse_foreign(out: Path) -> None:
    """Whatever stands at ``out``, only tokens are ever replaced, also by ``force``."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / FACTS).is_file()):
        raise RunError(
            f"{out} is something else than tokens of cellwright, which --force does not replace "
            "either; choose another place with -o"
        )


def _known(obs: pd.DataFrame, name: str) -> str:
    if name in obs.columns:
        return name
    close = nearest(name, [str(c) for c in obs.columns])
    hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(map(str, obs.columns))}"
    raise DataError(f"obs has no column {name!r}; {hint}")


def passing(obs: pd.DataFrame) -> NDArray[np.int64]:
    """Positions of the cells with ``filter_pass`` 1, all without such a column."""
    if "filter_pass" not in obs.columns:
        return np.arange(len(obs))
    values = obs["filter_pass"]
    marks = pd.to_numeric(values.astype(object), errors="coerce")
    wrong = values[~marks.isin([0, 1])]
    if len(wrong):
        raise DataError(
            f"obs['filter_pass'] is {wrong.iloc[0]!r} for {wrong.index[0]}, expected 0 or 1"
        )
    rows = np.flatnonzero(marks.to_numpy() == 1)
    if rows.size == 0:
        raise DataError(f"obs['filter_pass'] is 0 for all {len(obs):,} cells; none is left")
    if rows.size < len(obs):
        log.info("obs['filter_pass'] leaves out %s cells", f"{len(obs) - rows.size:,}")
    return rows


def _totals(obs: pd.DataFrame, name: str) -> NDArray[np.float64]:
    values = obs[_known(obs, name)]
    if not pd.api.types.is_numeric_dtype(values.dtype):
        raise DataError(f"obs[{name!r}] is {values.dtype}, expected numbers: all counts of a cell")
    return values.to_numpy(dtype=np.float64)
