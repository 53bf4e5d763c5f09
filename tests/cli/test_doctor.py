"""Doctor says what is there, what is not, and what to do; a broken PyTorch does not stop it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from cellwright.workflows.doctor import driver_gpus, examine, missing_by_extra, usable_cores

HERE = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}


def doctor(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from cellwright.cli.main import main; main()", "doctor"]
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, env={**HERE, **environment}, timeout=120
    )


def test_json_holds_what_the_system_says(run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, _ = run("doctor", "--json")
    found = json.loads(said)
    assert status == 0
    assert found["schema"] == "cellwright.doctor/1"
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["hardware"]["memory_bytes"] == psutil.virtual_memory().total
    assert found["hardware"]["gpus"] == [
        torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())
    ]
    assert found["threads"]["pytorch"] == torch.get_num_threads()
    assert found["disk_free_bytes"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert 1 <= found["cores_usable"] <= os.cpu_count()
    names = [check["name"] for check in found["checks"]]
    assert names[:6] == ["pytorch", "cores", "memory", "gpu", "precision", "disk"]
    assert names[-1] == "browser"


def test_no_place_on_disk_is_told(run, tmp_path) -> None:
    _, said, _ = run("doctor", "--json")
    for place in (str(Path.home()), str(Path(sys.executable).parent)):
        assert place not in said


def test_text_has_a_line_per_subject(run) -> None:
    status, said, _ = run("doctor")
    assert status == 0
    assert said.startswith("cellwright 0.1.0, python 3.")
    for words in (f"PyTorch {torch.__version__}", "cores can be used", "of disk are free"):
        assert words in said


def test_a_thread_limit_is_named_with_its_remedy() -> None:
    done = doctor(OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "PyTorch runs 1 thread (OMP_NUM_THREADS=1)." in done.stdout
    if min(usable_cores(), psutil.cpu_count(logical=False) or 1) > 1:
        assert "unset OMP_NUM_THREADS to use all" in done.stdout


def test_a_pytorch_that_does_not_import_is_a_finding(tmp_path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libtorch_cpu.so: invalid ELF header')\n")
    done = doctor(PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "FAILURE  PyTorch cannot be imported: libtorch_cpu.so: invalid ELF" in done.stdout
    assert "-> install it anew" in done.stdout
    assert "of disk are free" in done.stdout
    strict = doctor("--strict", "--json", PYTHONPATH=str(tmp_path))
    assert strict.returncode == 3
    assert json.loads(strict.stdout)["hardware"] == {}
    assert strict.stderr.count("invalid ELF header") == 1


@pytest.mark.skipif(os.name == "nt", reason="plants a shell script as the driver's program")
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a PyTorch that cannot use CUDA")
def test_a_gpu_that_pytorch_cannot_use_is_named(tmp_path, monkeypatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert driver_gpus() == ["NVIDIA H100 80GB HBM3"]
    (gpu,) = (check for check in examine().checks if check.name == "gpu")
    assert gpu.severity == "warning"
    assert "The driver names NVIDIA H100 80GB HBM3" in gpu.sentence
    assert torch.__version__ in gpu.sentence
    assert "install a CUDA build" in gpu.remedy
    program.write_text("#!/bin/sh\nexit 9\n")
    assert driver_gpus() == []


def test_without_a_browser_the_report_is_still_of_use(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = examine(tmp_path)
    assert found.facts["browser"] is None
    assert "No browser is on the PATH." in found.text()


def test_extras_are_those_of_the_package() -> None:
    stated = set(importlib.metadata.metadata("cellwright").get_all("Provides-Extra") or [])
    assert set(missing_by_extra()) == stated
    # The tests themselves need these two.
    assert not {"pytest", "hypothesis"} & set(missing_by_extra()["dev"])
