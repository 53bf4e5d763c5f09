"""The folder of a published Geneformer checkpoint, read as a run."""

from __future__ import annotations

from pathlib import Path

from cellwright.errors import RunError
from cellwright.representations.geneformer import OURS, VOCABULARY, GeneformerRun
from cellwright.representations.geneformer_files import CONFIG, load_encoder
from cellwright.tokens.rank_vocabulary import RankVocabulary


def load_geneformer(
    folder: Path | str,
    vocabulary: RankVocabulary | Path | str | None = None,
    *,
    name: str | None = None,
) -> GeneformerRun:
    """Load the Hugging Face folder of a Geneformer checkpoint.

    Parameters
    ----------
    folder
        With ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``.
    vocabulary
        Of the same series, or the path of its table; default the one table in the folder,
        ``vocabulary.tsv`` or a name with ``vocab`` that ends in ``.tsv`` or ``.tsv.gz``.
    name
        Default the folder's.

    Returns
    -------
    A run that pools as its series does: the mean over genes, or ``<cls>`` where the vocabulary has
    one, of the last layer but one; a folder that :meth:`GeneformerRun.save` wrote, as it was saved.

    Raises
    ------
    RunError, DataError
        If a file is missing, foreign or damaged, the tensors do not fit the config, or the
        vocabulary has another size than the model.
    """
    folder = Path(folder)
    model, config = load_encoder(folder)
    if not isinstance(vocabulary, RankVocabulary):
        vocabulary = RankVocabulary.from_tsv(_table(folder) if vocabulary is None else vocabulary)
    if vocabulary.n_tokens != model.shape.tokens:
        raise RunError(
            f"the vocabulary has {vocabulary.n_tokens:,} tokens ({', '.join(vocabulary.special)} "
            f"and {len(vocabulary):,} genes), but {folder / CONFIG} says vocab_size = "
            f"{model.shape.tokens:,}; give the vocabulary of the same series"
        )
    if config.get("pad_token_id", vocabulary.pad_id) not in (None, vocabulary.pad_id):
        raise RunError(
            f"<pad> is token {vocabulary.pad_id} of the vocabulary, but {folder / CONFIG} says "
            f"pad_token_id = {config['pad_token_id']}; give the vocabulary of the same series"
        )
    run = GeneformerRun(
        name=name or folder.resolve().name,
        path=folder,
        model=model,
        config=config,
        vocabulary=vocabulary,
        pooling="mean" if vocabulary.cls_id is None else "cls",
    )
    saved = config.get(OURS)
    if not isinstance(saved, dict):
        return run
    return run.with_(pooling=saved.get("pooling"), layer_of=saved.get("layer_of"))


def _table(folder: Path) -> Path:
    if (folder / VOCABULARY).is_file():
        return folder / VOCABULARY
    found = sorted({*folder.glob("*vocab*.tsv"), *folder.glob("*vocab*.tsv.gz")})
    if len(found) != 1:
        there = f"{len(found)} tables ({', '.join(p.name for p in found)})" if found else "none"
        raise RunError(
            f"a checkpoint needs the vocabulary of its series, {folder} has {there}: give one with "
            f"--vocabulary, or put it there as {VOCABULARY}"
        )
    return found[0]
