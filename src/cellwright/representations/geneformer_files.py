"""Checkpoints of BERT masked language models as Hugging Face keeps them, read into our encoder and back.

A folder holds ``config.json`` and ``model.safetensors``, or ``pytorch_model.bin``, which is read
with ``weights_only=True``: a pickle that holds anything but tensors is refused.
"""

from __future__ import annotations

import json
import pickle  # for the name of its error alone
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cellwright.data.atomic import atomic_file
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.models.rank_encoder import RankEncoder, RankShape

CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
ARCHITECTURES = ("BertForMaskedLM", "BertModel")
# Of a pretrained BERT, but no part of its hidden states or of its masked tokens.
_IGNORED = (
    "embeddings.position_ids",
    "embeddings.token_type_ids",
    "pooler.",
    "cls.seq_relationship.",
)
_TIED = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")

# config.json -> RankShape; None: it must be there.
_SHAPE: dict[str, tuple[str, Any]] = {
    "vocab_size": ("tokens", None),
    "hidden_size": ("width", None),
    "num_hidden_layers": ("layers", None),
    "num_attention_heads": ("heads", None),
    "intermediate_size": ("feedforward", None),
    "max_position_embeddings": ("positions", None),
    "hidden_act": ("activation", "gelu"),
    "layer_norm_eps": ("norm_eps", 1e-12),
    "hidden_dropout_prob": ("dropout", 0.1),
    "attention_probs_dropout_prob": ("attention_dropout", 0.1),
    "type_vocab_size": ("types", 2),
    "initializer_range": ("initial_std", 0.02),
}
_OUTSIDE = {
    "embeddings.word_embeddings.weight": "tokens.weight",
    "embeddings.position_embeddings.weight": "positions.weight",
    "embeddings.token_type_embeddings.weight": "types.weight",
    "embeddings.LayerNorm.weight": "embedding_norm.weight",
    "embeddings.LayerNorm.bias": "embedding_norm.bias",
}
_HEAD = {
    "cls.predictions.transform.dense.weight": "head.dense.weight",
    "cls.predictions.transform.dense.bias": "head.dense.bias",
    "cls.predictions.transform.LayerNorm.weight": "head.norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "head.norm.bias",
    "cls.predictions.bias": "head.bias",
}
_INSIDE = {
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm",
}
_A = {str: "a name", int: "a whole number", float: "a number"}
_JOINED = ("query", "key", "value")


def is_checkpoint(path: Path | str) -> bool:
    """Whether a folder is one of Hugging Face's, by files that our runs do not have."""
    return any((Path(path) / name).is_file() for name in (CONFIG, PICKLED))


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a BERT masked language model.

    Raises
    ------
    RunError
        If it is missing, no JSON, or of another architecture.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{folder} has no {CONFIG}, expected the folder of a checkpoint with {CONFIG} and "
            f"{SAFETENSORS} or {PICKLED}"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(config, dict):
        raise RunError(f"{path} holds a {type(config).__name__}, expected settings with names")
    kind, names = config.get("model_type"), config.get("architectures") or ["BertForMaskedLM"]
    if kind != "bert" or not set(names) & set(ARCHITECTURES):
        raise RunError(
            f"{path} is of the architecture {', '.join(map(str, names))} (model type {kind!r}), "
            f"expected {' or '.join(ARCHITECTURES)} of model type 'bert'"
        )
    for key, expected in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("add_cross_attention", False),
        ("tie_word_embeddings", True),
    ):
        if config.get(key, expected) != expected:
            raise RunError(f"{path} says {key} = {config[key]!r}, only {expected!r} can be loaded")
    return config


def shape_of(config: Mapping[str, Any], path: Path) -> RankShape:
    """The encoder's shape that a ``config.json`` describes.

    Raises
    ------
    RunError
        If a size is missing or cannot be.
    """
    parts: dict[str, Any] = {}
    for key, (name, default) in _SHAPE.items():
        value = config.get(key, default)
        kind = str if name == "activation" else int if default is None or name == "types" else float
        allowed = (int, float) if kind is float else kind
        if value is None or isinstance(value, bool) or not isinstance(value, allowed):
            given = "does not say" if value is None else f"holds {value!r} for"
            raise RunError(f"{path} {given} {key}, expected {_A[kind]}")
        parts[name] = kind(value)
    try:
        return RankShape(**parts)
    except SettingsError as error:
        raise RunError(f"{path} describes a model that cannot be: {error}") from None


def read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The tensors of a checkpoint under their own names, and the file they came from.

    Raises
    ------
    RunError
        If there is none, it is damaged, or a ``pytorch_model.bin`` holds more than tensors.
    """
    path = folder / SAFETENSORS
    if path.is_file():
        try:
            return path, load_file(path)
        except (OSError, SafetensorError, ValueError) as error:
            raise RunError(f"{path} does not hold tensors: {error}") from None
    path = folder / PICKLED
    if not path.is_file():
        raise RunError(f"{folder} has a {CONFIG}, but neither {SAFETENSORS} nor {PICKLED}")
    try:
        with warnings.catch_warnings():
            # About the version of a pickle that is going to be refused in a better sentence.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        detail = _what_was_refused(str(error))
        raise RunError(
            f"{path} holds more than tensors ({detail}) and is not opened, because that could run "
            f"code: convert it to {SAFETENSORS} where you trust it"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        detail = (str(error).splitlines() or [""])[0]
        raise RunError(
            f"{path} is damaged or was not written by PyTorch ({type(error).__name__}: {detail})"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise RunError(f"{path} holds a {type(found).__name__}, expected tensors under names")
    return path, found


def _what_was_refused(message: str) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", message)
    return f"it asks for {asked[1]}" if asked else "it cannot be read as weights alone"


def load_encoder(folder: Path) -> tuple[RankEncoder, dict[str, Any]]:
    """The encoder of a checkpoint in evaluation mode, float32, and its ``config.json``.

    Half-precision weights are widened. Buffers of positions, BERT's pooler and its next-sentence
    head are left out; without a masked-token head the encoder has none either.

    Raises
    ------
    RunError
        If a file is missing or foreign, or its tensors do not fit the config; the first tensor
        at fault is named.
    """
    config = read_config(folder)
    shape = shape_of(config, folder / CONFIG)
    path, found = read_weights(folder)
    bare = {name.removeprefix("bert."): tensor for name, tensor in found.items()}
    bare = {n: t for n, t in bare.items() if not n.startswith(_IGNORED) and n not in _TIED}
    head = any(name in bare for name in _HEAD)
    with torch.device("meta"):
        model = RankEncoder(shape, head=head)
    _check(bare, model, path)
    weights = {}
    for name in model.state_dict():
        parts = [bare.pop(source).float() for source in sources(name)]
        weights[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    model.load_state_dict(weights, assign=True)
    return model.eval(), config


def _check(bare: Mapping[str, Tensor], model: RankEncoder, path: Path) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    for name, tensor in model.state_dict().items():
        names = sources(name)
        for source in names:
            expected[source] = (tensor.shape[0] // len(names), *tensor.shape[1:])
    for name, shape in expected.items():
        if name not in bare:
            raise RunError(f"{path} lacks the tensor {name}, which {CONFIG} beside it calls for")
        if tuple(bare[name].shape) != shape:
            raise RunError(
                f"{path} does not fit the {CONFIG} beside it: {name} is {_by(bare[name].shape)}, "
                f"expected {_by(shape)}"
            )
    foreign = sorted(set(bare) - set(expected))
    if foreign:
        raise RunError(
            f"{path} does not fit the {CONFIG} beside it: it holds {len(foreign)} tensors that a "
            f"model of that shape does not have, the first is {foreign[0]}"
        )


def _by(shape: Any) -> str:
    return " × ".join(f"{size:,}" for size in shape)


def sources(name: str) -> list[str]:
    """The tensors of a checkpoint (without ``bert.``) that one of ours is made of, in order."""
    for theirs, ours in (_OUTSIDE | _HEAD).items():
        if name == ours:
            return [theirs]
    _, number, part, kind = name.split(".")
    if part == "qkv":
        return [f"encoder.layer.{number}.attention.self.{p}.{kind}" for p in _JOINED]
    theirs = next(key for key, ours in _INSIDE.items() if ours == part)
    return [f"encoder.layer.{number}.{theirs}.{kind}"]


def write_checkpoint(folder: Path, model: RankEncoder, extra: Mapping[str, Any]) -> None:
    """Write ``config.json`` and ``model.safetensors`` that ``transformers`` loads.

    ``extra`` are further settings of the config, such as ``pad_token_id``.

    Raises
    ------
    DataError
        If a file cannot be written.
    """
    head = model.head is not None
    prefix = "bert." if head else ""
    weights = {}
    for name, tensor in model.state_dict().items():
        names = sources(name)
        for source, part in zip(names, tensor.detach().cpu().chunk(len(names)), strict=True):
            full = source if source.startswith("cls.") else prefix + source
            weights[full] = part.contiguous() if len(names) == 1 else part.clone()
    config = {
        **extra,
        **{key: getattr(model.shape, name) for key, (name, _) in _SHAPE.items()},
        "architectures": ["BertForMaskedLM" if head else "BertModel"],
        "model_type": "bert",
        "dtype": "float32",
        "tie_word_embeddings": True,
    }
    config.pop("torch_dtype", None)
    with atomic_file(folder / SAFETENSORS) as temporary:
        try:
            save_file(weights, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise DataError(f"cannot write {folder / SAFETENSORS}: {error}") from None
        # The library makes files that only their owner may read.
        temporary.chmod(0o644)
    with atomic_file(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
