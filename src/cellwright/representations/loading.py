"""Load what a folder holds: a run of our own, or a Geneformer checkpoint."""

from __future__ import annotations

from pathlib import Path

from cellwright.errors import RunError, SettingsError
from cellwright.representations import encoder
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.finetuned import FinetunedRun, with_head
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.geneformer_files import is_checkpoint
from cellwright.representations.geneformer_loading import load_geneformer
from cellwright.representations.ldvae import LDVAERun, is_ldvae_run, load_ldvae
from cellwright.representations.rank_run import is_rank_run, load_rank_run
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.run_folder import RunFolder


def load(
    path: Path | str,
    *,
    name: str | None = None,
    vocabulary: RankVocabulary | Path | str | None = None,
) -> EncoderRun | GeneformerRun | FinetunedRun | LDVAERun:
    """Load a finished run, fine-tuned or not, or a Hugging Face folder of a Geneformer checkpoint.

    Parameters
    ----------
    name
        Under which its vectors are stored; default the folder's name, or what a fine-tuned run was
        called.
    vocabulary
        Of a checkpoint; see :func:`~cellwright.representations.geneformer_loading.load_geneformer`.

    Raises
    ------
    RunError, DataError
        If the folder is missing, unfinished, damaged or of another kind.
    SettingsError
        If a vocabulary is given for a run, which has its own.
    """
    if is_checkpoint(path):
        return with_head(load_geneformer(path, vocabulary, name=name), path, name=name)
    if vocabulary is not None:
        raise SettingsError(f"{path} is no checkpoint with a config.json: it takes no vocabulary")
    if is_ldvae_run(path):
        return load_ldvae(path, name=name)
    if _names_genes(path):
        raise RunError(
            f"{path} is a run of cellwright reverse train, which names perturbed genes and has no "
            "vectors of cells; ask it with cellwright reverse predict"
        )
    run = load_rank_run(path, name=name) if is_rank_run(path) else encoder.load(path, name=name)
    return with_head(run, path, name=name)


def _names_genes(path: Path | str) -> bool:
    """Whether the folder's ``config.toml`` is one of ``cellwright reverse train``."""
    try:
        return {"own_genes", "held_out", "sums"} <= set(RunFolder(path).read_config())
    except (RunError, SettingsError):
        return False


def load_encoder(
    path: Path | str,
    *,
    name: str | None = None,
    vocabulary: RankVocabulary | Path | str | None = None,
) -> EncoderRun | GeneformerRun | FinetunedRun:
    """As :func:`load`, for what needs an encoder of genes as tokens.

    Raises
    ------
    RunError
        Also if the run is a linear VAE.
    """
    found = load(path, name=name, vocabulary=vocabulary)
    if isinstance(found, LDVAERun):
        raise RunError(
            f"{path} is a linear VAE of cellwright ldvae, which reads counts at once and not gene "
            "by gene; give a run of cellwright pretrain or a Geneformer checkpoint"
        )
    return found
