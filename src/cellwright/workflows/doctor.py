"""Doctor: what this machine and this installation offer, in sentences, with a remedy where needed.

It has to work where the rest does not, so PyTorch is imported inside: a broken one is a finding.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import cellwright
from cellwright.data.disk.arrays import usable_cores
from cellwright.interfaces import Check

SCHEMA = "cellwright.doctor/1"
THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
PYTORCH_OBEYS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "firefox", "msedge")
LEAST_MEMORY = 2_000_000_000
LEAST_DISK = 1_000_000_000


@dataclass(frozen=True)
class Diagnosis:
    """What was found: facts (the keys of ``doctor --json``) and one check per subject."""

    facts: dict[str, Any]
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**self.facts, "checks": [check.to_dict() for check in self.checks]}

    def text(self) -> str:
        """Versions, then a sentence per subject; what needs a hand is marked and has a remedy."""
        versions = ", ".join(f"{name} {of}" for name, of in self.facts["versions"].items())
        marks = {"note": "ok", "warning": "WARNING", "failure": "FAILURE"}
        lines = [versions, ""]
        for check in self.checks:
            lines.append(f"{marks[check.severity]:<8} {check.sentence}")
            if check.remedy:
                lines.append(f"{'':<8}   -> {check.remedy}")
        return "\n".join(lines)


def examine(folder: Path | str = ".") -> Diagnosis:
    """Look at versions, processor, memory, GPU, precision, disk, threads, extras and browser.

    Parameters
    ----------
    folder
        Whose disk is looked at.
    """
    torch = _torch()
    usable = usable_cores()
    memory = psutil.virtual_memory()
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": torch["versions"],
        "hardware": torch["hardware"],
        "cores_usable": usable,
        "memory_available_bytes": int(memory.available),
        "disk_free_bytes": int(shutil.disk_usage(folder).free),
        "threads": {
            "pytorch": torch["threads"],
            **{name: os.environ.get(name) for name in (*THREAD_SETTINGS, "OMP_WAIT_POLICY")},
        },
        "driver_gpus": driver_gpus(),
        "cuda": torch["cuda"],
        "extras": missing_by_extra(),
        "browser": next((name for name in BROWSERS if shutil.which(name)), None),
    }
    checks = [_pytorch(torch), _cores(facts), _memory(facts, memory.total)]
    if torch["error"] is None:
        checks += [_gpu(facts), _precision(facts)]
    checks += [_disk(facts), *_extras(facts), _browser(facts)]
    return Diagnosis(facts, tuple(checks))


def driver_gpus() -> list[str]:
    """NVIDIA GPUs that the driver names, whether or not PyTorch can use them."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def missing_by_extra() -> dict[str, list[str]]:
    """The packages that each optional extra of cellwright still lacks here."""
    missing: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("cellwright") or []:
        package = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        if package is None or extra is None:
            continue
        lacking = missing.setdefault(extra.group(1), [])
        try:
            importlib.metadata.version(package.group())
        except importlib.metadata.PackageNotFoundError:
            lacking.append(package.group())
    return missing


def _torch() -> dict[str, Any]:
    """What only PyTorch can say; ``error`` where it cannot be imported."""
    try:
        import torch

        from cellwright.training.hardware import describe
        from cellwright.workflows.provenance import versions
    # A damaged build raises OSError for a library it cannot load.
    except (ImportError, OSError) as error:
        found = {"cellwright": cellwright.__version__, "python": platform.python_version()}
        said = " ".join(str(error).split())
        return {"versions": found, "hardware": {}, "threads": None, "cuda": None, "error": said}
    return {
        "versions": versions(),
        "hardware": describe(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "error": None,
    }


def _pytorch(torch: dict[str, Any]) -> Check:
    if torch["error"] is not None:
        return Check(
            "pytorch",
            "failure",
            f"PyTorch cannot be imported: {torch['error']}.",
            "install it anew: pip install --force-reinstall torch",
        )
    built = f"for CUDA {torch['cuda']}" if torch["cuda"] else "without CUDA"
    return Check("pytorch", "note", f"PyTorch {torch['versions']['torch']} is built {built}.")


def _cores(facts: dict[str, Any]) -> Check:
    usable, threads = facts["cores_usable"], facts["threads"]["pytorch"]
    cores = f"{usable} of {os.cpu_count()} cores can be used"
    given = [f"{name}={facts['threads'][name]}" for name in THREAD_SETTINGS]
    given = [setting for setting in given if not setting.endswith("=None")]
    set_to = f" ({', '.join(given)})" if given else ""
    if threads is None:
        return Check("cores", "note", f"{cores}{set_to}.")
    sentence = f"{cores}; PyTorch runs {threads} {'thread' if threads == 1 else 'threads'}{set_to}."
    if threads > usable:
        remedy = f"more threads than cores wait for each other: set OMP_NUM_THREADS={usable}"
        return Check("cores", "warning", sentence, remedy)
    # Two hardware threads of one core gain nothing here, and PyTorch's own rule counts cores.
    worth = min(usable, psutil.cpu_count(logical=False) or usable)
    limits = [name for name in PYTORCH_OBEYS if facts["threads"][name] is not None]
    if limits and threads < worth:
        remedy = (
            f"training uses {threads} of {worth} cores: unset {' and '.join(limits)} to use all"
        )
        return Check("cores", "warning", sentence, remedy)
    return Check("cores", "note", sentence)


def _memory(facts: dict[str, Any], total: int) -> Check:
    free = facts["memory_available_bytes"]
    sentence = f"{_gb(free)} of {_gb(total)} memory are free."
    if free < LEAST_MEMORY:
        remedy = "close other programs; a lower --batch-size and fewer genes need less"
        return Check("memory", "warning", sentence, remedy)
    return Check("memory", "note", sentence)


def _gpu(facts: dict[str, Any]) -> Check:
    usable, driver = facts["hardware"]["gpus"], facts["driver_gpus"]
    if usable:
        return Check("gpu", "note", f"PyTorch can use {', '.join(usable)}; training takes it.")
    if facts["hardware"]["mps"]:
        return Check("gpu", "note", "PyTorch can use the Apple GPU (MPS); training takes it.")
    if driver:
        return Check(
            "gpu",
            "warning",
            f"The driver names {', '.join(driver)}, but PyTorch {facts['versions']['torch']} "
            "cannot use it; training takes the CPU.",
            "install a CUDA build of PyTorch that fits the driver "
            "(https://pytorch.org/get-started/locally/)",
        )
    return Check("gpu", "note", "No GPU is found (CUDA or MPS); training takes the CPU.")


def _precision(facts: dict[str, Any]) -> Check:
    native = facts["hardware"]["native_bf16"]
    on = "GPU" if facts["hardware"]["gpus"] else "processor"
    if native:
        sentence = f"The {on} multiplies bf16 natively: --precision auto trains in bf16."
    else:
        sentence = f"The {on} does not multiply bf16 natively: --precision auto trains in float32."
    return Check("precision", "note", sentence)


def _disk(facts: dict[str, Any]) -> Check:
    free = facts["disk_free_bytes"]
    sentence = f"{_gb(free)} of disk are free in this folder."
    if free < LEAST_DISK:
        remedy = "free some, or write elsewhere with -o: outputs are written in full, then renamed"
        return Check("disk", "warning", sentence, remedy)
    return Check("disk", "note", sentence)


def _extras(facts: dict[str, Any]) -> list[Check]:
    checks = []
    for extra, missing in facts["extras"].items():
        if missing:
            said = f"The extra {extra} lacks {', '.join(missing)}; what it adds is not available."
            remedy = f"if you want it: pip install 'cellwright[{extra}]'"
        else:
            said, remedy = f"The extra {extra} is complete.", ""
        checks.append(Check(f"extra-{extra}", "note", said, remedy))
    return checks


def _browser(facts: dict[str, Any]) -> Check:
    if facts["browser"] is not None:
        return Check("browser", "note", f"A browser for reports is there: {facts['browser']}.")
    return Check(
        "browser",
        "note",
        "No browser is on the PATH.",
        "report.html is one file that needs no network: open it on any machine with a browser",
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
