"""Read by several processes, the bytes written are those of one."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import anndata as ad
import distributed
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.data.disk import crew as crew_module
from cellwright.data.disk import shared_rows
from cellwright.data.disk.crew import Crew, crew
from cellwright.data.disk.rewrite import LEAST_MEMORY, rewrite
from cellwright.data.prepare.crop import crop
from cellwright.data.prepare.unique import unique
from cellwright.errors import DataError, RunError, SettingsError

ROWS = np.arange(0, 2000, 3)


@pytest.fixture(scope="module")
def cluster():
    """Two processes; each is started again when it dies."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as made:
        yield made


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crew")
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for storage in ("csr", "csc", "dense"):
            counts = sp.random(2000, 400, 0.4, "csr", np.float32, rng)
            cells = ad.AnnData(counts.toarray() if storage == "dense" else counts.asformat(storage))
            cells.layers["counts"] = (counts * 9).ceil()
            cells.obs_names = [f"c{i % 1990}" for i in range(2000)]
            cells.write_h5ad(folder / f"{storage}.h5ad", compression="gzip")
        cells.write_zarr(folder / "dense.zarr")
    return folder


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Many tasks even of a small file; the workers keep their own size of blocks."""
    monkeypatch.setattr(shared_rows, "_BLOCKS_PER_TASK", 0.2)


def files_of(path):
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


@pytest.mark.parametrize("name", ["csr.h5ad", "csc.h5ad", "dense.h5ad", "dense.zarr"])
def test_the_same_bytes_as_in_one_process(name, atlas, cluster, tmp_path):
    path, ending = atlas / name, Path(name).suffix
    address = cluster.scheduler_address
    jobs = {
        "rows": lambda out, **how: rewrite(path, out, rows=ROWS, **how),
        "crop": lambda out, **how: crop(path, out, cells=300, genes=50, cell_dedupe="drop", **how),
        "x": lambda out, **how: crop(
            path, out, cells=300, layer="X", drop_allzero_genes=True, **how
        ),
        "unique": lambda out, **how: unique(path, out, cells="drop", **how),
    }
    for job, work in jobs.items():
        work(tmp_path / f"{job}1{ending}", memory=LEAST_MEMORY)
        work(tmp_path / f"{job}2{ending}", memory=LEAST_MEMORY, dask=address)
        assert files_of(tmp_path / f"{job}1{ending}") == files_of(tmp_path / f"{job}2{ending}")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_processes_of_this_machine(atlas, tmp_path):
    rewrite(atlas / "csr.h5ad", tmp_path / "one.h5ad", rows=ROWS)
    rewrite(atlas / "csr.h5ad", tmp_path / "two.h5ad", rows=ROWS, workers=2)
    assert (tmp_path / "one.h5ad").read_bytes() == (tmp_path / "two.h5ad").read_bytes()


def test_a_worker_that_dies_midway_is_replaced(atlas, cluster, tmp_path):
    path, how = atlas / "csr.h5ad", {"memory": LEAST_MEMORY}
    rewrite(path, tmp_path / "one.h5ad", **how)
    killed = []

    def kill(done, whole):
        if not killed and done > whole // 8:
            with distributed.Client(cluster.scheduler_address) as client:
                killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    address = cluster.scheduler_address
    rewrite(path, tmp_path / "two.h5ad", **how, dask=address, progress=kill)
    assert killed
    assert (tmp_path / "one.h5ad").read_bytes() == (tmp_path / "two.h5ad").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.h5ad", "two.h5ad"]


def test_damage_that_a_worker_meets_is_told_as_in_one_process(atlas, cluster, tmp_path):
    path = tmp_path / "in.h5ad"
    path.write_bytes((atlas / "csr.h5ad").read_bytes())
    with h5py.File(path, "r+") as file:
        file["X/indices"][-5] = 7777
        file["layers/counts/indices"][-5] = 8888
    for work, index in ((rewrite, 7777), (crop, 8888)):
        with pytest.raises(DataError, match=f"it holds the index {index}") as alone:
            work(path, tmp_path / "out.h5ad")
        with pytest.raises(DataError) as shared:
            work(path, tmp_path / "out.h5ad", dask=cluster.scheduler_address, memory=LEAST_MEMORY)
        assert str(shared.value) == str(alone.value)
        assert [p.name for p in tmp_path.iterdir()] == ["in.h5ad"]


def test_settings_that_cannot_work_are_named(atlas, tmp_path, monkeypatch):
    path, out = atlas / "csr.h5ad", tmp_path / "out.h5ad"
    monkeypatch.setattr(crew_module, "_PATIENCE", 1)
    for work in (rewrite, crop):
        with pytest.raises(SettingsError, match="--workers is 0, expected at least 1"):
            work(path, out, workers=0)
        with pytest.raises(SettingsError, match="--workers 2 and --dask tcp://h:1 were both given"):
            work(path, out, workers=2, dask="tcp://h:1")
    for address in ("tcp://127.0.0.1:9", "nonsense", "tcp://127.0.0.1:port", ""):
        with pytest.raises(SettingsError, match=f"no Dask scheduler answers at '{address}'"):
            rewrite(path, out, dask=address)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_without_workers_is_said(atlas, tmp_path):
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty:
        address = empty.scheduler_address
        with pytest.raises(RunError, match=f"the Dask scheduler at {address} has no workers"):
            rewrite(atlas / "csr.h5ad", tmp_path / "out.h5ad", dask=address)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("end", "said"),
    [("scale", "has had no workers for a while"), ("close", "scheduler was lost while reading")],
)
def test_a_cluster_that_goes_away_does_not_hang(end, said, monkeypatch):
    monkeypatch.setattr(crew_module, "_PATIENCE", 0.5)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as made,
        distributed.Client(made.scheduler_address) as client,
    ):
        results = Crew(client).map(time.sleep, [(0,), (60,), (60,)])
        assert next(results) is None
        if end == "scale":
            made.scale(0)
        else:
            made.close()
        with pytest.raises(RunError, match=said):
            next(results)


def test_results_come_in_order_a_few_at_a_time(cluster):
    asked = []

    def tasks():
        for number in range(40):
            asked.append(number)
            yield number, 100

    with crew(dask=cluster.scheduler_address) as helpers:
        for number, found in enumerate(helpers.map(divmod, tasks())):
            assert found == divmod(number, 100)
            assert len(asked) <= number + 1 + 2 * helpers.size
