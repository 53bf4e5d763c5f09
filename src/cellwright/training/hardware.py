"""What the machine offers: native bf16, peak memory, and its description for the provenance."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import psutil
import torch

from cellwright.errors import SettingsError


def fabric_precision(asked: str, device_type: str) -> str:
    """Lightning Fabric's name for the precision asked for.

    ``auto`` is bf16 autocast where the hardware multiplies bf16 natively, else float32.
    """
    if asked == "float32":
        return "32-true"
    if asked == "bf16":
        return "bf16-mixed"
    return "bf16-mixed" if has_native_bf16(device_type) else "32-true"


def has_native_bf16(device_type: str) -> bool:
    """Whether bf16 products run on bf16 units: AVX512-BF16 or AMX on a CPU, Ampere or later."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(probe()) if probe is not None else False
    return False


def accelerator_in_use(asked: str) -> str:
    """``cpu``, ``cuda`` or ``mps``: as asked, or for ``auto`` the fastest that is here."""
    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_accelerator(asked: str, devices: int = 1) -> None:
    """Refuse what PyTorch cannot use here, in one sentence.

    Raises
    ------
    SettingsError
        If ``asked`` is ``cuda`` or ``mps`` and is not available, or there are fewer than
        ``devices`` of it.
    """
    if asked == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            "accelerator is 'cuda', but PyTorch sees no CUDA device here; "
            "use --accelerator cpu, or install a CUDA build of PyTorch"
        )
    if asked == "mps" and not torch.backends.mps.is_available():
        raise SettingsError(
            "accelerator is 'mps', but PyTorch sees no Apple GPU here; use --accelerator cpu"
        )
    on = accelerator_in_use(asked)
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(on, devices)
    if devices > there:
        raise SettingsError(
            f"devices is {devices}, but PyTorch sees {there} {on} device here; lower --devices, "
            "or use --accelerator cpu"
        )


def peak_memory_bytes() -> int:
    """The most memory this process has held so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def describe() -> dict[str, Any]:
    """System, processor, cores, memory and GPU; no paths, no host or user name."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "gpus": gpus,
        "mps": bool(torch.backends.mps.is_available()),
        "native_bf16": has_native_bf16("cuda" if gpus else "cpu"),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:  # noqa: PTH123
            for line in handle:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
