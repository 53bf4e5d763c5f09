"""A finished run of ``reverse train``: the network and all that a prediction rests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import RunError
from cellwright.perturbation.reverse_calibration import Calibration
from cellwright.perturbation.reverse_reference import ScreenReference
from cellwright.perturbation.reverse_sizes import SizeEstimate
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.reverse_build import build_network
from cellwright.training.reverse_encoder import EncoderShape
from cellwright.training.reverse_settings import ENCODERS
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.reverse_encoder import SHAPE
from cellwright.workflows.reverse_networks import FittedNetwork
from cellwright.workflows.reverse_train_judged import Told
from cellwright.workflows.reverse_train_settings import ReverseTrainSettings, read_stored

KIND = "reverse"
SCHEMA = "cellwright.reverse/1"


@dataclass(frozen=True)
class ReverseRun:
    """A trained network with its genes.

    kept_g: which genes of the vocabulary the network looks at; candidates: c genes that it may
    name; trained_c: those that training saw perturbed.
    """

    folder: Path
    settings: ReverseTrainSettings
    vocabulary: Vocabulary
    kept_g: NDArray[np.bool_]
    candidates: tuple[str, ...]
    trained_c: NDArray[np.bool_]
    network: FittedNetwork
    told: Told
    metrics: dict[str, Any]


def write_run_arrays(
    folder: RunFolder,
    kept_g: NDArray[np.bool_],
    candidates: tuple[str, ...],
    trained_c: NDArray[np.bool_],
    told: Told,
) -> None:
    """What is known of genes and of the screen's cells, into ``tokenizer.npz``."""
    arrays = {f"reference_{name}": value for name, value in told.reference.to_arrays().items()}
    if told.sizes.evidence is not None:
        found = told.sizes.evidence.to_arrays()
        arrays |= {f"sizes_{name}": value for name, value in found.items()}
    names = np.array(candidates, dtype=np.str_)
    folder.write_tokenizer(
        KIND, {"kept_g": kept_g, "candidates": names, "trained_c": trained_c, **arrays}
    )


def load_reverse(path: Path | str) -> ReverseRun:
    """Load a finished run; nothing but its folder is needed.

    Raises
    ------
    RunError
        If the folder is missing, unfinished, damaged or of another kind.
    """
    folder = RunFolder(path)
    folder.read_config()
    metrics = folder.read_json("metrics.json") if folder.is_finished() else None
    schema = metrics.get("schema") if isinstance(metrics, dict) else None
    if metrics is None or schema != SCHEMA:
        what = "it did not reach its end" if metrics is None else f"its metrics are {schema!r}"
        raise RunError(
            f"{folder.path} is no finished run of cellwright reverse train ({what}); train one, "
            "or continue it with --resume"
        )
    settings = read_stored(folder.read_config())
    vocabulary = Vocabulary.load(folder.path / "vocabulary.tsv")
    _, arrays = folder.read_tokenizer()
    try:
        kept_g, candidates = arrays["kept_g"], tuple(arrays["candidates"].tolist())
        reference = ScreenReference.from_arrays(
            {k.removeprefix("reference_"): v for k, v in arrays.items() if "reference_" in k}
        )
        told = Told(
            Calibration.from_dict(metrics["calibration"]),
            SizeEstimate.from_dict(
                metrics["number_of_genes"],
                {k.removeprefix("sizes_"): v for k, v in arrays.items() if k.startswith("sizes_")},
            ),
            reference,
        )
        trained_c = arrays["trained_c"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.path} is damaged: {error!r}") from None
    network = load_network(folder, settings, int(kept_g.sum()), len(candidates))
    return ReverseRun(
        folder.path, settings, vocabulary, kept_g, candidates, trained_c, network, told, metrics
    )


def load_network(
    folder: RunFolder, settings: ReverseTrainSettings, genes: int, candidates: int
) -> FittedNetwork:
    """The network of a run with its best weights.

    Raises
    ------
    RunError
        If the weights are not those of such a network.
    """
    weights = folder.read_weights()
    network = settings.network
    # How much is known of genes and of pairs stands in the weights: the files may be gone.
    columns = {
        name: next((w.shape[-1] for key, w in weights.items() if key.endswith(f".{name}")), 0)
        for name in ("measured_gf", "pair_ccp")
    }
    model = build_network(
        network,
        genes=genes,
        candidates=candidates,
        features=columns["measured_gf"],
        pairs=columns["pair_ccp"],
        encoder=_encoder_shape(folder) if network.kind in ENCODERS else None,
    )
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise RunError(
            f"the weights in {folder.path} are not those of its config.toml: {first}"
        ) from None
    return FittedNetwork(model.eval(), network, [], 0, 0.0)


def _encoder_shape(folder: RunFolder) -> EncoderShape:
    """What the encoder of a run is built from: the pretrained run itself may be gone."""
    found = folder.read_json(SHAPE)
    try:
        return EncoderShape.from_dict(found)
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder.path / SHAPE} does not describe an encoder: {error!r}") from None
