"""Settings that cannot work are refused at once, with their value in the sentence."""

from __future__ import annotations

import math

import pytest

from cellwright.config import dump_toml, read_toml, resolve, to_dict
from cellwright.errors import SettingsError
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.cell_binned import CellBinnedTokenizer
from cellwright.training.settings import PRESETS, PretrainSettings


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, "epochs is 0"),
        ("batch_size", -4, "batch_size is -4"),
        ("val_batch_size", 0, "val_batch_size is 0"),
        ("devices", 0, "devices is 0"),
        ("num_nodes", 0, "num_nodes is 0"),
        ("learning_rate", 0.0, r"learning_rate is 0\.0"),
        ("learning_rate", math.nan, "learning_rate is nan"),
        ("clip_norm", -1.0, r"clip_norm is -1\.0"),
        ("target_sum", 0.0, r"target_sum is 0\.0"),
        ("weight_decay", -0.1, r"weight_decay is -0\.1"),
        ("weight_decay", math.nan, "weight_decay is nan"),
        ("warmup_share", 1.0, r"warmup_share is 1\.0"),
        ("patience", 0, "patience is 0"),
        ("seed", -1, "seed is -1"),
        ("mask_share", 1.5, r"mask share is 1\.5"),
        ("mask_nonzero_share", -0.5, r"nonzero_share is -0\.5"),
        ("num_bins", 1, "num_bins is 1"),
        ("num_bins", 300, "num_bins is 300"),
        ("width", 10, "width 10 does not divide by 4 heads"),
        ("latents", 0, "latents is 0"),
        ("dropout", 1.0, r"dropout is 1\.0"),
        ("epochs", "ten", "'ten'"),
        ("attention", "sparse", "'sparse'"),
        ("size", "huge", "'huge'"),
        ("precision", "fp16", "'fp16'"),
        ("accelerator", "tpu", "'tpu'"),
        ("schedule", "cosine", "'cosine'"),
        ("pooling", "max", "'max'"),
        ("learning_rat", 1.0, "learning_rate"),
    ],
)
def test_a_value_that_cannot_work_is_named(name, value, words):
    with pytest.raises(SettingsError, match=words):
        resolve(PretrainSettings, {name: value})


def test_settings_survive_a_file(tmp_path):
    settings = resolve(PretrainSettings, {"epochs": 3, "learning_rate": 1e-3, "patience": 2})
    path = tmp_path / "config.toml"
    path.write_text(dump_toml(to_dict(settings)), encoding="utf-8")
    assert resolve(PretrainSettings, read_toml(path)) == settings


def test_a_flag_beats_a_file_beats_a_preset_beats_the_default():
    preset = PRESETS["neurons-2025-published"]
    found = resolve(PretrainSettings, preset, {"epochs": 4, "width": 32}, {"epochs": 5})
    assert (found.epochs, found.width, found.layers, found.weight_decay) == (5, 32, 3, 1e-2)


def test_the_published_settings():
    found = resolve(PretrainSettings, PRESETS["neurons-2025-published"])
    assert (found.seed, found.num_bins, found.target_sum, found.log1p) == (42, 20, 1e4, True)
    assert (found.mask_share, found.mask_nonzero_share) == (0.15, 0.5)
    assert (found.zero_bin, found.mask_nonzero) == (False, "bin")
    assert (found.batch_size, found.val_batch_size, found.epochs) == (64, 128, 30)
    shape = found.encoder
    assert (shape.attention, shape.part("width"), shape.part("heads")) == ("full", 64, 4)
    assert (shape.part("layers"), shape.part("feedforward"), shape.dropout) == (3, 2048, 0.1)
    assert (found.learning_rate, found.weight_decay, found.schedule) == (5e-4, 1e-2, "constant")


def test_the_tokenizer_is_the_one_named():
    binned = PretrainSettings(num_bins=7, zero_bin=False, log1p=False, target_sum=10.0)
    made = binned.new_tokenizer()
    assert isinstance(made, BinnedTokenizer)
    assert (made.num_bins, made.zero_bin, made.log1p, made.target_sum) == (7, False, False, 10.0)
    per_cell = PretrainSettings(tokenizer="cell-binned", num_bins=9).new_tokenizer()
    assert isinstance(per_cell, CellBinnedTokenizer) and per_cell.num_bins == 9
