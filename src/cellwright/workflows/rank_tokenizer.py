"""The ranked tokenizer that a name stands for: a vocabulary, a run, or medians of the cells given."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.blocks import iter_blocks
from cellwright.data.genes import gene_names
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer, SortDtype

FIT = "fit"
STATE, VOCABULARY = "tokenizer.npz", "vocabulary.tsv"

log = logging.getLogger("cellwright.tokenize")


def named_tokenizer(
    vocabulary: RankedTokenizer | RankVocabulary | Path | str,
    *,
    medians: Path | str | None = None,
    symbols: Path | str | None = None,
    max_tokens: int | None = None,
    sort_dtype: SortDtype | None = None,
) -> RankedTokenizer:
    """The tokenizer of a vocabulary or of a run folder, whose own settings hold where none is given.

    Parameters
    ----------
    vocabulary
        A table (``.tsv``, ``.tsv.gz``), a pickled token dictionary (``.pkl``, with ``medians`` and
        perhaps ``symbols``), or a folder that holds a tokenizer or a vocabulary.

    Raises
    ------
    DataError, RunError
        If there is no such thing, or it tokenizes otherwise.
    SettingsError
        If dictionaries are given without each other.
    """
    if isinstance(vocabulary, RankedTokenizer):
        found = vocabulary
    elif isinstance(vocabulary, RankVocabulary):
        found = RankedTokenizer(vocabulary)
    else:
        found = _from_path(Path(vocabulary), medians, symbols)
    return RankedTokenizer(
        found.vocabulary_,
        max_tokens=found.max_tokens if max_tokens is None else max_tokens,
        sort_dtype=sort_dtype or found.sort_dtype,
        target_sum=found.target_sum,
    )


def fitted_tokenizer(
    cells: AnnData,
    rows: NDArray[np.int64],
    *,
    with_cls: bool = False,
    totals_n: NDArray[np.float64] | None = None,
    max_tokens: int | None = None,
    sort_dtype: SortDtype | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
) -> RankedTokenizer:
    """A tokenizer with the nonzero medians of cells, those of ``obs["split"] == "train"`` if there
    is such a column.

    Raises
    ------
    DataError
        If no cell is left to take medians from.
    """
    if "split" in cells.obs.columns:
        train = cells.obs["split"].astype(str).to_numpy()[rows] == "train"
        if not train.any():
            raise DataError("obs['split'] has no train cell to take medians from")
        rows = rows[train]
        log.info("medians are those of the %s train cells", f"{rows.size:,}")
    else:
        log.info(
            "medians are those of all %s cells: without obs['split'] none is known to be held out",
            f"{rows.size:,}",
        )
    names = gene_names(cells.var)
    found = RankVocabulary.from_training(
        iter_blocks(cells, layer=layer, rows=rows, assume_counts=assume_counts),
        names.gene_id,
        names.gene_symbol,
        totals_n=totals_n,
        with_cls=with_cls,
    )
    if found.rare:
        log.info(
            "%s of %s genes are in fewer than ten of these cells, so their medians say little: %s",
            f"{len(found.rare):,}",
            f"{len(found):,}",
            ", ".join(found.rare[:3]) + (" ..." if len(found.rare) > 3 else ""),
        )
    return RankedTokenizer(found, max_tokens=max_tokens, sort_dtype=sort_dtype or "float64")


def save_tokenizer(tokenizer: RankedTokenizer, folder: Path) -> None:
    """Write the tokenizer and its vocabulary into a folder, for :func:`named_tokenizer`."""
    tokenizer.vocabulary_.save(folder / VOCABULARY)
    state: dict[str, Any] = tokenizer.state()
    np.savez_compressed(folder / STATE, **state)


def _from_path(
    path: Path, medians: Path | str | None, symbols: Path | str | None
) -> RankedTokenizer:
    if path.suffix in (".pkl", ".pickle"):
        if medians is None:
            raise SettingsError(
                f"{path} is a pickled token dictionary; name the dictionary of medians too, with "
                "--medians"
            )
        return RankedTokenizer(RankVocabulary.from_pickles(path, medians, symbols))
    if medians is not None or symbols is not None:
        raise SettingsError(
            f"--medians and --symbols go with a pickled token dictionary (.pkl), {path} was given"
        )
    if not path.is_dir():
        return RankedTokenizer(RankVocabulary.from_tsv(path))
    if (path / STATE).is_file():
        try:
            with np.load(path / STATE, allow_pickle=False) as stored:
                return RankedTokenizer.from_state({name: stored[name] for name in stored.files})
        except (OSError, ValueError, BadZipFile) as error:
            raise RunError(f"{path / STATE} is damaged: {error}") from None
        except RunError as error:
            raise RunError(f"{path} does not rank genes: {error}") from None
    if (path / VOCABULARY).is_file():
        return RankedTokenizer(RankVocabulary.from_tsv(path / VOCABULARY))
    raise RunError(
        f"{path} holds no tokenizer: neither {STATE} nor {VOCABULARY} is there; name a run of a "
        "rank model, a folder of tokens, or a vocabulary table"
    )
