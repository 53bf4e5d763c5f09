"""Square roots of counts instead of log-normalized values: what they are, and that runs keep to them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from cellwright.errors import SettingsError
from cellwright.representations.expression import root_counts
from cellwright.workflows.reverse_benchmark import reverse_benchmark
from cellwright.workflows.reverse_predict import reverse_predict
from cellwright.workflows.reverse_run import load_reverse
from cellwright.workflows.reverse_train import reverse_train

QUICK = {"epochs": 2, "hidden": (16,), "width": 8, "k": 5}


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Four targets and all of their doubles, whose effects multiply, in shallow cells."""
    rng = np.random.default_rng(0)
    names = [f"T{i}" for i in range(4)]
    sets = [(), *((i,) for i in range(4)), *((i, j) for i in range(4) for j in range(i))]
    effect_tg = rng.normal(0, 0.4, (4, 70))
    counts, labels = [], []
    for members in sets:
        lift_g = np.exp(effect_tg[list(members)].sum(axis=0))
        counts.append(rng.poisson(rng.lognormal(0, 0.4, (60, 1)) * 0.5 * lift_g))
        labels += ["+".join(names[i] for i in members) or "control"] * 60
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[f"G{i}" for i in range(70)])
    return AnnData(sp.csr_matrix(np.vstack(counts).astype(np.float32)), obs=obs, var=var)


def test_roots_of_counts(cells: AnnData) -> None:
    found = root_counts(cells.X)
    np.testing.assert_allclose(found.toarray(), np.sqrt(cells.X.toarray()), rtol=1e-6)
    assert found.dtype == np.float32


def test_a_benchmark_says_what_its_queries_are_means_of(cells: AnnData) -> None:
    how = {
        "split": "leave-one-double-out",
        "k": (1,),
        "methods": ["linear-inverted"],
        "permutations": 0,
    }
    rooted = reverse_benchmark(cells, values="root", **how)
    logged = reverse_benchmark(cells, **how)
    said = "Queries are means of square roots of counts, for every method."
    assert said in rooted.sentences and said not in logged.sentences

    def exact(result) -> pd.DataFrame:
        table = result.table
        return table[(table.metric == "mrr") & (table.stratum == "all")].iloc[0]

    assert exact(rooted)["value"] > exact(rooted)["chance"]
    assert exact(rooted)["value"] != exact(logged)["value"]


def test_a_run_reads_new_cells_as_it_read_its_own(cells: AnnData, tmp_path) -> None:
    reverse_train(cells, tmp_path / "root", values="root", split="none", **QUICK)
    mine = cells[cells.obs["condition"].isin(["control", "T1+T0"])]
    state = mine.obs["condition"].astype(str).to_numpy()
    mine = AnnData(mine.X, obs=pd.DataFrame({"state": state}, index=mine.obs_names), var=mine.var)
    how = {"state_column": "state", "control": "control", "case": ("T1+T0",)}
    found = reverse_predict(tmp_path / "root", mine, **how)
    shifts = found.rankings[0].evidence.set_index("measured_gene")["shift"]
    x_ng = np.sqrt(mine.X.toarray())
    wanted_g = x_ng[state != "control"].mean(axis=0) - x_ng[state == "control"].mean(axis=0)
    by_name = pd.Series(wanted_g, index=mine.var_names)
    for gene, shift in shifts.items():
        assert shift == pytest.approx(by_name[gene], abs=1e-4)
    assert load_reverse(tmp_path / "root").settings.values == "root"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"values": "sqrt"}, "'sqrt'"),
        ({"values": "root", "methods": ["encoder"], "pretrained": "nowhere"}, "log-normalized"),
    ],
)
def test_values_that_cannot_work(cells: AnnData, how, words) -> None:
    with pytest.raises(SettingsError, match=words):
        reverse_benchmark(cells, **how)
