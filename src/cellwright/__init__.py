"""cellwright builds representation models of single cells and proves whether they are right.

The public names below are resolved on first use, so that importing the package stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "inspect": "cellwright.data.inspect",
    "join": "cellwright.data.prepare.join",
    "subset": "cellwright.data.prepare.subset",
    "fetch": "cellwright.data.datasets.fetch",
    "simulate": "cellwright.data.simulate",
    "simulate_screen": "cellwright.data.simulated_screen",
    "draw_map": "cellwright.workflows.map",
    "unique": "cellwright.data.prepare.unique",
    "crop": "cellwright.data.prepare.crop",
    "split": "cellwright.data.split",
    "pretrain": "cellwright.workflows.pretrain",
    "embed": "cellwright.workflows.embed",
    "perturb": "cellwright.workflows.perturb",
    "probe": "cellwright.workflows.probe",
    "reverse_ablate": "cellwright.workflows.reverse_ablation",
    "reverse_benchmark": "cellwright.workflows.reverse_benchmark",
    "reverse_forward": "cellwright.workflows.reverse_forward",
    "reverse_predict": "cellwright.workflows.reverse_predict",
    "reverse_train": "cellwright.workflows.reverse_train",
    "cluster": "cellwright.workflows.cluster",
    "classify_genes": "cellwright.workflows.classify_genes",
    "finetune": "cellwright.workflows.finetune",
    "ldvae": "cellwright.workflows.ldvae",
    "tokenize": "cellwright.workflows.tokenize",
    "disease_test": "cellwright.workflows.disease_test",
    "study": "cellwright.workflows.study",
    "load": "cellwright.representations.loading",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'cellwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
