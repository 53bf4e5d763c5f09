"""A trained ``LinearSCVI`` of scvi-tools as a representation, and its weights in our own model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData
from torch import Tensor

from cellwright.errors import DataError, MissingExtra
from cellwright.models.linear_vae import LinearVAE, LinearVAESize
from cellwright.representations.ldvae import LDVAERun
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.linear_vae_settings import LDVAESettings

_LAYER = "fc_layers.Layer 0"


def from_scvi(model: Any, cells: AnnData | None = None, *, name: str = "LinearSCVI") -> LDVAERun:
    """A trained ``LinearSCVI`` as a representation; ``save`` makes a run folder of it.

    Parameters
    ----------
    model
        The model, or the folder that its ``save`` wrote (which scvi-tools reads: a pickle, so only
        from where you trust).
    cells
        What ``LinearSCVI.load`` needs beside a folder that was saved without its AnnData.

    Returns
    -------
    What a cell was to its training is unknown, and scores say so.

    Raises
    ------
    MissingExtra
        If a folder is given and scvi-tools is not installed.
    DataError
        If it is no such model, has parts that ours has not, or lists a gene twice.
    """
    if isinstance(model, str | Path):
        model = _loaded(Path(model), cells)
    genes = [str(gene) for gene in model.adata.var_names]
    vocabulary = Vocabulary.from_var(pd.DataFrame(index=pd.Index(genes)))
    if len(vocabulary) != len(genes):
        raise DataError(
            f"the scvi-tools model has {len(genes)} genes, but only {len(vocabulary)} different names"
        )
    ours = linear_vae_of(model.module)
    size = ours.size
    settings = LDVAESettings(
        latent=size.latent,
        hidden=size.hidden,
        dropout=size.dropout,
        library=size.library,
        likelihood=size.likelihood,
        decoder_norm=size.decoder_norm,
    )
    return LDVAERun(name, Path(name), settings, vocabulary, None, ours)


def _loaded(path: Path, cells: AnnData | None) -> Any:
    try:
        from scvi.model import LinearSCVI  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra("scvi-tools", "scvi", "reading a model of scvi-tools") from None
    try:
        return LinearSCVI.load(str(path), adata=cells)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is no LinearSCVI that scvi-tools can load: {first}") from None


def linear_vae_of(module: Any) -> LinearVAE:
    """Our model with the weights of scvi-tools' ``LDVAE`` module (``model.module``).

    Raises
    ------
    DataError
        If the module has a part that ours has not (deeper encoder, another dispersion or law, a
        bias in the decoder); the part is named.
    """
    hidden_layers = len(module.z_encoder.encoder.fc_layers)
    for what, given, expected in (
        ("dispersion", module.dispersion, ("gene",)),
        ("gene_likelihood", module.gene_likelihood, ("nb", "zinb")),
        ("latent_distribution", module.latent_distribution, ("normal",)),
        ("n_layers", hidden_layers, (1,)),
        ("log_variational", module.log_variational, (True,)),
    ):
        if given not in expected:
            raise DataError(
                f"the scvi-tools model has {what} {given!r}, expected {' or '.join(map(str, expected))}"
            )
    weights = module.state_dict()
    if f"decoder.factor_regressor.{_LAYER}.0.bias" in weights:
        raise DataError("the decoder of the scvi-tools model has a bias, expected bias=False")
    observed = bool(module.use_observed_lib_size)
    size = LinearVAESize(
        genes=module.n_input,
        latent=module.n_latent,
        hidden=module.n_hidden,
        batches=max(module.n_batch, 1),
        dropout=_dropout(module),
        library="observed" if observed else "latent",
        likelihood=module.gene_likelihood,
        decoder_norm=bool(module.use_batch_norm),
    )
    model = LinearVAE(size)
    model.load_state_dict(_translated(weights, size, model.state_dict()))
    return model.eval()


def _dropout(module: Any) -> float:
    layer = module.z_encoder.encoder.fc_layers[0]
    return next((float(part.p) for part in layer if hasattr(part, "p")), 0.0)


def _translated(
    weights: Mapping[str, Tensor], size: LinearVAESize, ours: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """scvi-tools' names to ours."""
    parts = {
        "encoder.first.": f"z_encoder.encoder.{_LAYER}.0.",
        "encoder.norm.": f"z_encoder.encoder.{_LAYER}.1.",
        "encoder.mean.": "z_encoder.mean_encoder.",
        "encoder.log_variance.": "z_encoder.var_encoder.",
        "library_encoder.first.": f"l_encoder.encoder.{_LAYER}.0.",
        "library_encoder.norm.": f"l_encoder.encoder.{_LAYER}.1.",
        "library_encoder.mean.": "l_encoder.mean_encoder.",
        "library_encoder.log_variance.": "l_encoder.var_encoder.",
        "decoder.linear.": f"decoder.factor_regressor.{_LAYER}.0.",
        "decoder.norm.": f"decoder.factor_regressor.{_LAYER}.1.",
        "zero_decoder.linear.": f"decoder.px_dropout_decoder.{_LAYER}.0.",
        "zero_decoder.norm.": f"decoder.px_dropout_decoder.{_LAYER}.1.",
    }
    out: dict[str, Tensor] = {}
    for name, value in ours.items():
        part = next((p for p in parts if name.startswith(p)), None)
        if part is not None:
            out[name] = weights[parts[part] + name.removeprefix(part)]
        elif name == "log_dispersion_g":
            out[name] = weights["px_r"]
        elif size.library == "latent":  # the prior of the library
            scvi_name = "means" if name == "log_library_mean_b" else "vars"
            out[name] = weights[f"library_log_{scvi_name}"].flatten()
        else:
            out[name] = value
    return out
