"""Sizes in words: numbers, all, and what is neither."""

import pytest

from cellwright.errors import SettingsError
from cellwright.workflows.sizes import read_sizes


def test_sizes_are_read_and_refused():
    assert read_sizes("5, 20,all,5", "k") == read_sizes([5, 20, "all"], "k") == (5, 20, None)
    for given, part in (("5,x", "x"), ("0", "0"), ("", ""), ([-1], "-1")):
        with pytest.raises(SettingsError, match=f"--labels-per-class holds '{part}'"):
            read_sizes(given, "--labels-per-class")
