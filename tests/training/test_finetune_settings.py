"""Settings of fine-tuning that cannot work."""

from __future__ import annotations

import pytest

from cellwright.errors import SettingsError
from cellwright.training.finetune_settings import FinetuneSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("learning_rate", 0.0), ("val", 1.5), ("lora_rank", 0), ("precision", "fp8")],
)
def test_a_setting_that_cannot_work_is_named_with_its_value(name, value):
    with pytest.raises(SettingsError, match=f"{name} is .*{value}"):
        FinetuneSettings(**{name: value})
