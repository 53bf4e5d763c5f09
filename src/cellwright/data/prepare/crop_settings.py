"""How a crop is made, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cellwright.data.disk.rewrite import Rewritten
from cellwright.data.prepare.unique import CellRule, GeneRule, UniquePlan
from cellwright.errors import SettingsError


@dataclass(frozen=True)
class CropSettings:
    """How cells and genes are chosen; ``genes`` None keeps every gene."""

    cells: int = 200
    genes: int | None = 500
    seed: int = 1
    strata: int = 4
    min_gene_detect_frac: float = 0.05
    alpha_detect: float = 1.0
    beta_std: float = 0.5
    drop_allzero_genes: bool = False
    drop_allzero_cells: bool = False
    gene_dedupe: GeneRule = "make_unique"
    cell_dedupe: CellRule = "make_unique"

    def check(self) -> None:
        """Raise SettingsError for a value that cannot work."""
        for name, least in (("cells", 1), ("genes", 1), ("strata", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}, expected at least {least}")
        if not 0 <= self.min_gene_detect_frac <= 1:
            raise SettingsError(
                f"min_gene_detect_frac is {self.min_gene_detect_frac}, expected a share in [0, 1]"
            )
        for name in ("alpha_detect", "beta_std"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise SettingsError(f"{name} is {value}, expected a finite number, 0 or above")


@dataclass(frozen=True)
class CropResult:
    """What was kept: summaries before and after, and what was written."""

    settings: CropSettings
    basis: str
    unique: UniquePlan
    dropped: dict[str, int]
    before: dict[str, Any]
    after: dict[str, Any]
    written: Rewritten

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``--json``."""
        return {
            "schema": "cellwright.crop/1",
            "n_obs": self.written.n_obs,
            "n_vars": self.written.n_vars,
            "settings": asdict(self.settings),
            "basis": self.basis,
            "unique": self.unique.facts(),
            "dropped": self.dropped,
            "before": self.before,
            "after": self.after,
            "bytes": self.written.n_bytes,
            "notes": self.written.notes,
            "out": str(self.written.path),
        }

    def text(self) -> str:
        """The same for people."""
        lines = [self.unique.sentence()]
        if any(self.dropped.values()):
            lines.append(
                f"dropped {self.dropped['cells']:,} cells and {self.dropped['genes']:,} genes "
                "without a single count"
            )
        for stage, found in (("before", self.before), ("after", self.after)):
            n, g = found["shape"]
            lines.append(
                f"{stage:<6}  {n:,} cells × {g:,} genes, {found['nonzero_fraction']:.1%} nonzero; "
                f"medians {found['median_nonzero_per_cell']:,.0f} genes per cell, "
                f"{found['median_nonzero_per_gene']:,.0f} cells per gene"
            )
        return "\n".join([*lines, self.written.sentence(), *self.written.notes])
