"""Folders of tokens against Hugging Face datasets itself, both ways."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from cellwright.data.rank_corpus import RankCorpus
from cellwright.data.rank_corpus_writing import writing_corpus
from cellwright.errors import DataError


def some_tokens(cells: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 25_000, rng.integers(1, 60)).tolist() for _ in range(cells)]


def ragged(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])])
    return np.concatenate(lists).astype(np.int32), offsets


OBS = pd.DataFrame(
    {
        "cell type": pd.Categorical(["a", None, "b", "a"] * 600),
        "age": np.arange(2400) / 7,
        "n": np.arange(2400),
        "ok": [True, False] * 1200,
        "donor": ["x", np.nan, "y", "é"] * 600,
    }
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[int]]]:
    folder = tmp_path_factory.mktemp("tokens")
    lists = some_tokens(2400)
    with writing_corpus(folder, OBS.columns) as writer:
        for first, last in ((0, 1500), (1500, 1501), (1501, 2400)):
            writer.add(*ragged(lists[first:last]), OBS.iloc[first:last])
    assert (writer.n_cells, writer.n_tokens) == (2400, sum(map(len, lists)))
    return folder, lists


def test_datasets_loads_what_was_written(written: tuple[Path, list[list[int]]]) -> None:
    folder, lists = written
    loaded = datasets.load_from_disk(str(folder))
    assert loaded.column_names == ["input_ids", "length", *OBS.columns]
    assert loaded["input_ids"][:] == lists
    assert loaded["length"][:] == [len(one) for one in lists]
    assert loaded["cell type"][:4] == ["a", None, "b", "a"]
    assert loaded["donor"][:4] == ["x", None, "y", "é"]
    assert loaded["ok"][:] == OBS["ok"].tolist()
    assert loaded["n"][:] == OBS["n"].tolist()
    np.testing.assert_array_equal(loaded["age"][:], OBS["age"])
    assert str(loaded.features["length"].dtype) == "int64"
    # And it goes on from there as any data set.
    assert loaded.filter(lambda cell: cell["length"] > 50).num_rows == sum(
        len(x) > 50 for x in lists
    )


def test_read_back_in_any_order(written: tuple[Path, list[list[int]]]) -> None:
    folder, lists = written
    corpus = RankCorpus.open(folder)
    assert len(corpus) == 2400
    assert corpus.columns == list(OBS.columns)
    np.testing.assert_array_equal(corpus.lengths_n, [len(one) for one in lists])
    rows = np.array([2399, 0, 1000, 999, 1500, 1500])
    batch = corpus.take(rows)
    for i, row in enumerate(rows):
        assert batch.tokens[batch.offsets[i] : batch.offsets[i + 1]].tolist() == lists[row]
    assert corpus.take(np.array([], dtype=np.int64)).tokens.size == 0
    assert corpus.column("n").tolist() == OBS["n"].tolist()
    with pytest.raises(DataError, match="no column 'doner'; did you mean 'donor'"):
        corpus.column("doner")
    with pytest.raises(DataError, match=r"cell 2400 was asked for, but .* has 2,400 cells"):
        corpus.take(np.array([3, 2400]))


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_what_datasets_writes_is_read(tmp_path: Path, bits: int) -> None:
    # As Genecorpus-30M: made by datasets, in several files.
    lists = some_tokens(700, 1)
    features = datasets.Features(
        {
            "input_ids": datasets.Sequence(datasets.Value(f"int{bits}")),
            "length": datasets.Value("int16"),
        }
    )
    made = datasets.Dataset.from_dict(
        {"input_ids": lists, "length": [len(x) for x in lists]}, features=features
    )
    made.save_to_disk(str(tmp_path / "d"), num_shards=3)
    corpus = RankCorpus.open(tmp_path / "d")
    batch = corpus.take(np.arange(700))
    np.testing.assert_array_equal(batch.tokens, np.concatenate(lists))
    np.testing.assert_array_equal(corpus.lengths_n, made["length"][:])


def test_batches_go_by_length(written: tuple[Path, list[list[int]]]) -> None:
    folder, lists = written
    corpus = RankCorpus.open(folder)
    plain = list(corpus.batches(64))
    rows = np.concatenate([batch.rows for batch in plain])
    assert sorted(rows.tolist()) == list(range(2400))
    lengths = [len(lists[row]) for row in rows]
    assert lengths == sorted(lengths, reverse=True)
    mixed = list(corpus.batches(64, seed=1, epoch=0))
    padding = sum(np.diff(b.offsets).max() * len(b.rows) - b.tokens.size for b in mixed)
    assert padding < 0.03 * sum(map(len, lists))
    assert sorted(np.concatenate([b.rows for b in mixed]).tolist()) == list(range(2400))
    firsts = [int(np.diff(b.offsets).max()) for b in mixed]
    assert firsts != sorted(firsts, reverse=True)
    for batch in mixed:
        for i, row in enumerate(batch.rows):
            assert batch.tokens[batch.offsets[i] : batch.offsets[i + 1]].tolist() == lists[row]

    def order(**how: int) -> list[int]:
        return np.concatenate([b.rows for b in corpus.batches(64, **how)]).tolist()

    assert order(seed=1, epoch=0) == order(seed=1, epoch=0)
    assert order(seed=1, epoch=0) != order(seed=1, epoch=1)
    part = list(corpus.batches(5, rows=np.array([7, 3, 9, 100, 50, 2])))
    assert sorted(np.concatenate([b.rows for b in part]).tolist()) == [2, 3, 7, 9, 50, 100]
    with pytest.raises(DataError, match="batch size is 0"):
        next(corpus.batches(0))
    with pytest.raises(DataError, match="cell 5000"):
        next(corpus.batches(4, rows=np.array([5000])))


def test_what_is_no_corpus(tmp_path: Path, written: tuple[Path, list[list[int]]]) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*none"):
        RankCorpus.open(tmp_path / "none")
    with pytest.raises(DataError, match=r"no state\.json"):
        RankCorpus.open(tmp_path)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]}))
    with pytest.raises(DataError, match=r"lacks a\.arrow"):
        RankCorpus.open(tmp_path)
    whole = (written[0] / "data-00000-of-00001.arrow").read_bytes()
    for damaged in (b"", b"hello" * 30, whole[: len(whole) // 2]):
        (tmp_path / "a.arrow").write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.arrow is damaged"):
            RankCorpus.open(tmp_path)
    made = datasets.Dataset.from_dict({"input_ids": ["a", "b"], "x": [1, 2]})
    made.save_to_disk(str(tmp_path / "text"))
    with pytest.raises(DataError, match=r"input_ids of .* is string"):
        RankCorpus.open(tmp_path / "text")
    made.remove_columns("input_ids").save_to_disk(str(tmp_path / "other"))
    with pytest.raises(DataError, match=r"no column 'input_ids'.*\(it has x\)"):
        RankCorpus.open(tmp_path / "other")
    datasets.DatasetDict(train=made, test=made).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(DataError, match=r"several data sets \(test, train\)"):
        RankCorpus.open(tmp_path / "two")


def test_columns_that_cannot_stand(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="asked for, but"), writing_corpus(tmp_path, ["length"]):
        pass
    with pytest.raises(DataError, match="at least one cell"), writing_corpus(tmp_path):
        pass
    with (
        pytest.raises(DataError, match="'a' is string in one"),
        writing_corpus(tmp_path, ["a"]) as w,
    ):
        w.add(*ragged([[1], [2]]), pd.DataFrame({"a": ["x", "y"]}))
        w.add(*ragged([[1], [2]]), pd.DataFrame({"a": [1, 2]}))
