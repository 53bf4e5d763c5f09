"""Ablation of gene knowledge: knowledge of planted worth helps, the same shuffled does not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.gene_knowledge import knowledge_of
from cellwright.workflows.reverse_ablation import reverse_ablate, shuffled, variants


@pytest.fixture(scope="module")
def planted_families(tmp_path_factory):
    """Twenty targets in four families of nearly one effect; a table that knows the family."""
    rng = np.random.default_rng(2)
    family = np.arange(20) % 4
    effects = 0.8 * rng.normal(size=(4, 80))[family] + 0.15 * rng.normal(size=(20, 80))
    rate = rng.lognormal(1, 0.5, 80)
    labels, counts = [], []
    for target in [None, *range(20)]:
        size = 60 if target is None else 24
        lift = np.exp(0 if target is None else effects[target])
        counts.append(rng.poisson(rate * lift, (size, 80)))
        labels += ["control" if target is None else f"T{target}"] * size
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    cells = AnnData(np.vstack(counts).astype(np.float32), obs=obs)
    cells.var_names = [f"G{i}" for i in range(80)]
    cells.var["length"] = np.arange(80.0)
    folder = tmp_path_factory.mktemp("families")
    for name, codes in (("family", family), ("nothing", rng.permutation(family))):
        rows = [f"T{i},{','.join(str(int(c == f)) for f in range(4))}" for i, c in enumerate(codes)]
        (folder / f"{name}.csv").write_text("gene,a,b,c,d\n" + "\n".join(rows) + "\n")
    return cells, folder


def test_what_helps_is_told_from_what_does_not(planted_families, tmp_path):
    cells, folder = planted_families
    out = tmp_path / "out"
    found = reverse_ablate(
        cells,
        [f"table:{folder / 'family.csv'}", f"table:{folder / 'nothing.csv'}"],
        partitions=2, k=8, shuffles=2, out=out,
    )  # fmt: skip
    rows = found.differences[found.differences.metric == "mrr"]
    d = rows.set_index(["source", "comparison"])
    assert d.loc["table:family", "shuffled"].low > 0
    assert d.loc["table:nothing", "shuffled"].low < 0.05
    assert d.loc["table:family", "left out"].low > 0 > d.loc["table:nothing", "left out"].low
    text = found.text()
    assert "table:family with linear-knowledge" in text and "it helps." in text
    assert "it cannot score a gene of" in text
    written = json.loads((out / "metrics.json").read_text())
    assert written["schema"] == "cellwright.reverse-ablate/1"
    assert str(folder) not in (out / "metrics.json").read_text()
    assert (out / "figures" / "knowledge.png").stat().st_size > 10_000
    values = found.table[found.table.metric == "mrr"].set_index("variant")["value"]
    d = next(s for s in written["scores"] if s["variant"] == "all" and s["metric"] == "mrr")[
        "difference"
    ]
    assert d["value"] == pytest.approx(values["all"] - values["none"])


@pytest.mark.parametrize("kind", ["graph", "cross-attention"])
def test_networks_are_ablated_and_checked(planted_families, kind):
    cells, folder = planted_families
    found = reverse_ablate(
        cells, [f"table:{folder / 'family.csv'}"], methods=[kind], partitions=1, k=8, epochs=1
    )
    assert set(found.table.variant) == {"none", "only table", "shuffled table"}
    assert [check.name for check in found.checks] == ["dependence"]
    assert "did not change in one bit" in found.text()


def test_shuffling_moves_rows_and_keeps_numbers():
    table = knowledge_of(
        "x", ["a"], np.arange(6.0)[:, None], np.arange(5.0)[:, None],
        pairs=[("p", np.arange(25.0).reshape(5, 5))],
    )  # fmt: skip
    moved = shuffled(table, 3)
    assert sorted(moved.candidate_cd[:, 0]) == sorted(table.candidate_cd[:, 0])
    assert not np.array_equal(moved.candidate_cd, table.candidate_cd)
    # What is known of a pair moves with its genes.
    order = moved.candidate_cd[:, 0].astype(int)
    np.testing.assert_array_equal(moved.pair_ccp[:, :, 0], table.pair_ccp[order][:, order, 0])
    names = [v.label for v, _ in variants(table, 2, 0)]
    assert names == ["none", "only x", "shuffled x", "shuffled x"]


@pytest.mark.parametrize(
    ("knowledge", "how", "error", "words"),
    [
        (["positions"], {}, SettingsError, "positions:FILE"),
        ([], {}, SettingsError, "no gene knowledge is named"),
        (["table:none.csv"], {}, DataError, "none.csv"),
        (["var"], {"methods": ["mlp"]}, SettingsError, "'mlp' that uses gene knowledge"),
        (["var"], {"k": 0}, SettingsError, "k is 0"),
        (["table:{}/family.csv"], {"split": "unseen"}, SettingsError, "'unseen'"),
        (["var:lenth"], {}, DataError, "'lenth': did you mean 'length'"),
    ],
)
def test_what_cannot_work_is_one_sentence(planted_families, knowledge, how, error, words):
    cells, folder = planted_families
    with pytest.raises(error, match=words):
        reverse_ablate(cells, [spec.format(folder) for spec in knowledge], **how)
