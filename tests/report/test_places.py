"""A folder brings what belongs to it, and nothing is guessed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cellwright.errors import RunError
from cellwright.report.places import find_parts

Make = Callable[..., Path]


def test_a_run_brings_what_lies_in_and_beside_it(
    make_run: Make, make_probe: Make, make_cluster: Make
) -> None:
    run = make_run()
    probes = [make_probe("probe", n=10), make_probe("probe-region", n=10)]
    cluster = make_cluster(n=10)
    make_probe("other", n=10)
    (run.parent / "inspection.json").write_text(json.dumps({"verdict": "counts"}))
    for place in (run, run.parent):
        found = find_parts(place)
        assert (found.run, found.clusters) == (run, (cluster,))
        assert list(found.probes) == probes
        assert found.inspection == run.parent / "inspection.json"
    assert find_parts(probes[0]).probes == (probes[0],)
    assert find_parts(cluster).clusters == (cluster,)


def test_beside_several_runs_nothing_is_guessed(make_run: Make, make_probe: Make) -> None:
    run = make_run()
    make_probe(n=10)
    shutil.copytree(run, run.parent / "run2")
    assert find_parts(run).probes == ()
    with pytest.raises(RunError, match=r"several runs \(run, run2\)"):
        find_parts(run.parent)


def test_runs_in_a_folder_of_their_own(make_run: Make, make_probe: Make) -> None:
    run, probe = make_run(), make_probe(n=10)
    inner = run.parent / "runs" / "neurons"
    inner.parent.mkdir()
    run.rename(inner)
    assert find_parts(inner).probes == (probe,)
    assert find_parts(probe.parent).run == inner


def test_a_folder_with_nothing_to_report_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"nothing to report on in {tmp_path}"):
        find_parts(tmp_path)
