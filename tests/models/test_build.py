"""The dial that sets the size, its overrides, and what cannot be built."""

from __future__ import annotations

import pytest
import torch

from cellwright.errors import SettingsError
from cellwright.models.build import SIZES, EncoderSettings, build_encoder
from cellwright.models.full import FullEncoder
from cellwright.models.latent import LatentEncoder

LOG = torch.log(torch.full((7, 4), 0.25))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("size", sorted(SIZES))
def test_the_dial_sets_every_part(size):
    model = build_encoder(EncoderSettings(size=size), LOG, 0)
    part = SIZES[size]
    assert isinstance(model, LatentEncoder)
    assert model.latent_ld.shape == (part["latents"], part["width"])
    assert len(model.layers) == part["layers"]
    assert model.heads == part["heads"]
    assert model.mlp[0].out_features == 2 * part["width"]


def test_parts_can_be_overridden():
    settings = EncoderSettings(size="tiny", width=12, latents=3, layers=2, heads=2, feedforward=5)
    model = build_encoder(settings, LOG, 0)
    assert model.latent_ld.shape == (3, 12)
    assert len(model.layers) == 2 and model.heads == 2 and model.mlp[0].out_features == 5
    full = build_encoder(EncoderSettings(size="tiny", attention="full"), LOG, 0)
    assert isinstance(full, FullEncoder)
    without_layers = build_encoder(EncoderSettings(size="tiny", layers=0), LOG, 0)
    assert len(without_layers.layers) == 0


@pytest.mark.parametrize("attention", ["latent", "full"])
def test_the_seed_decides_and_the_global_generator_does_not(attention):
    settings = EncoderSettings(size="tiny", attention=attention)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weights(build_encoder(settings, LOG, 3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(weights(build_encoder(settings, LOG, 3)), first)
    assert not torch.equal(weights(build_encoder(settings, LOG, 4)), first)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"width": 10, "heads": 4}, r"width 10 .* 4 heads"),
        ({"width": 0}, "width is 0"),
        ({"latents": -2}, "latents is -2"),
        ({"heads": 0}, "heads is 0"),
        ({"feedforward": 0}, "feedforward is 0"),
        ({"layers": -1}, "layers is -1"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"dropout": -0.1}, r"dropout is -0\.1"),
    ],
)
def test_what_cannot_be_built_is_named_with_its_value(given, words):
    with pytest.raises(SettingsError, match=words):
        build_encoder(EncoderSettings(size="tiny", **given), LOG, 0)
