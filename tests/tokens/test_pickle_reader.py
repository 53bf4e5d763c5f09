"""Pickled dictionaries read without unpickling: every protocol, NumPy's numbers, and no code."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.tokens.pickle_reader import read_pickled_dict
from cellwright.tokens.rank_vocabulary import RankVocabulary

PLAIN = {
    "<pad>": 0,
    "ENSG1": 70_000,
    "ENSG2": -1,
    "é": "text",
    "big": 2**40,
    "x": 0.1 + 0.2,
    "y": True,
}


def written(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_dictionaries_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    assert read_pickled_dict(written(tmp_path / "d.pkl", PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numbers_of_numpy(tmp_path: Path, protocol: int) -> None:
    value = {"a": np.float64(1 / 3), "b": np.float32(0.1), "c": np.int64(2**50), "d": np.int32(-7)}
    found = read_pickled_dict(written(tmp_path / "d.pkl", value, protocol))
    assert found == {key: number.item() for key, number in value.items()}
    many = {f"G{i}": np.float64(i) / 7 for i in range(3000)}
    assert read_pickled_dict(written(tmp_path / "m.pkl", many, protocol)) == many


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "ran"
    path = written(tmp_path / "d.pkl", {"a": 1, "b": Evil(target)}, protocol)
    with pytest.raises(DataError, match=r"d\.pkl holds code \((posix|nt)\.system\)"):
        read_pickled_dict(path)
    assert not target.exists()


def test_other_contents(tmp_path: Path) -> None:
    path = tmp_path / "d.pkl"
    with pytest.raises(DataError, match="holds list"):
        read_pickled_dict(written(path, []))
    with pytest.raises(DataError, match="entry str 'a': list"):
        read_pickled_dict(written(path, {"a": []}))
    with pytest.raises(DataError, match="entry int '3': int '4'"):
        read_pickled_dict(written(path, {3: 4}))
    with pytest.raises(DataError, match=r"collections\.OrderedDict"):
        read_pickled_dict(written(path, OrderedDict(a=1)))
    with pytest.raises(DataError, match=r"cannot be read: No such file"):
        read_pickled_dict(tmp_path / "none.pkl")
    whole = pickle.dumps(PLAIN)
    for damaged in (
        b"",
        b"hello",
        whole[:-1],
        whole[: len(whole) // 2],
        b"\x80\x04s.",
        b"\x80\x04N.",
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"d\.pkl"):
            read_pickled_dict(path)


def test_every_damaged_byte_is_a_sentence_or_a_value(tmp_path: Path) -> None:
    path = tmp_path / "d.pkl"
    whole = pickle.dumps({"a": np.float64(1.5), "b": 2, "c": "d"})
    for at in range(len(whole)):
        for byte in (0, 0x52, 0x62, 0x75, 0x93, 0xFF):
            path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
            try:
                assert isinstance(read_pickled_dict(path), dict)
            except DataError as error:
                assert "d.pkl" in str(error)


def test_a_vocabulary_of_pickled_dictionaries(tmp_path: Path) -> None:
    tokens = written(tmp_path / "t.pkl", {"<pad>": 0, "<mask>": 1, "ENSG1": 2, "ENSG2": 3})
    medians = written(tmp_path / "m.pkl", {"ENSG2": np.float64(0.5), "ENSG1": 2.5, "ENSG9": 1.0})
    names = written(tmp_path / "n.pkl", {"AAA": "ENSG1", "OLD": "ENSG1"})
    found = RankVocabulary.from_pickles(tokens, medians, names)
    assert found.gene_ids.tolist() == ["ENSG1", "ENSG2"]
    assert found.symbols.tolist() == ["AAA", "ENSG2"]
    assert found.medians_g.tolist() == [2.5, 0.5]
    assert found.token_ids_g.tolist() == [2, 3]
    assert dict(found.special) == {"<pad>": 0, "<mask>": 1}
    written(medians, {"ENSG1": 2.5})
    with pytest.raises(DataError, match=r"no median for 1 of the 2 genes .*ENSG2"):
        RankVocabulary.from_pickles(tokens, medians)
    written(tokens, {"ENSG1": 2})
    with pytest.raises(DataError, match="without <pad> and <mask> it was given"):
        RankVocabulary.from_pickles(tokens, medians)
    written(tokens, {"ENSG1": "two"})
    with pytest.raises(DataError, match="gives ENSG1 the token 'two'"):
        RankVocabulary.from_pickles(tokens, medians)
