"""Embed the cells of a file with a run or a checkpoint, and say how much of them it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from anndata import AnnData
from anndata.io import write_elem
from numpy.typing import NDArray

from cellwright.data.amend import amend
from cellwright.data.atomic import refuse_existing
from cellwright.data.reading import read_cells, record, write_cells
from cellwright.errors import SettingsError
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.ldvae import LDVAERun
from cellwright.representations.loading import load


@dataclass(frozen=True)
class Embedded:
    """vectors_nd: one row per cell; key: where they stand in ``obsm``; coverage: share of the
    run's genes that the data have, or, ``of`` counts, share of the cells' counts that a checkpoint
    knows; missing: symbols of the run's other genes; seen: cells per kind of ``Seen``; layer_of:
    the layer of a checkpoint; cells: a copy with the vectors, None where a file was written
    instead; out: that file."""

    vectors_nd: NDArray[np.float32]
    key: str
    coverage: float
    missing: list[str]
    seen: dict[str, int]
    pooling: str
    cells: AnnData | None
    out: Path | None
    of: Literal["genes", "counts"] = "genes"
    layer_of: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "cellwright.embed/1",
            "n_obs": len(self.vectors_nd),
            "dims": int(self.vectors_nd.shape[1]),
            "obsm": self.key,
            "pooling": self.pooling,
            "layer_of": self.layer_of,
            "coverage": self.coverage,
            "coverage_of": self.of,
            "missing": self.missing,
            "seen": self.seen,
            "out": None if self.out is None else str(self.out),
        }

    def text(self) -> str:
        seen = ", ".join(f"{count:,} {kind}" for kind, count in self.seen.items())
        missing = f"; missing: {', '.join(self.missing[:10])}" if self.missing else ""
        place = f" in {self.out}" if self.out is not None else ""
        how = f"{self.pooling} pooling"
        if self.layer_of is not None:
            how += f" of layer {self.layer_of}"
        known = "genes of the run found" if self.of == "genes" else "counts in its vocabulary"
        return (
            f"{len(self.vectors_nd):,} cells × {self.vectors_nd.shape[1]} dims "
            f"({how}) as obsm[{self.key!r}]{place}\n"
            f"{known}: {self.coverage:.1%}{missing}\n"
            f"cells the run has seen: {seen}"
        )


def embed(
    run: EncoderRun | GeneformerRun | LDVAERun | Path | str,
    cells: AnnData | Path | str,
    out: Path | str | None = None,
    *,
    name: str | None = None,
    pooling: str | None = None,
    layer_of: int | None = None,
    vocabulary: Path | str | None = None,
    min_coverage: float | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    batch_size: int = 128,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Embed cells with a pretrained run: ``obsm["X_<run>"]`` and, per gene, ``varm["<run>"]``.

    Parameters
    ----------
    run
        A run folder, the Hugging Face folder of a Geneformer checkpoint, or either loaded. ``name``
        replaces its folder's name in the keys.
    cells
        AnnData (left as it is; the result holds a copy) or a path.
    out
        The h5ad to write; needed to keep anything when ``cells`` is a path.
    pooling
        ``mean`` over the latents or ``concat`` of all; of a checkpoint ``mean`` over genes or
        ``cls``; default the run's own.
    layer_of
        Which hidden states of a checkpoint: 0 the embedding, -1 the last layer; default -2.
    vocabulary
        Table of a checkpoint's series; default the one in its folder.
    min_coverage
        Share of the run's genes the data must have (default 0.8), or of the cells' counts that a
        checkpoint must know (default 0.1). Missing genes are hidden from the encoder.
    progress
        Called with the cells done and the cells to do while a checkpoint embeds.

    Raises
    ------
    DataError, RunError, SettingsError
        No counts, too few of the run's genes, an unfinished run, an existing ``out``, a layer of
        what is no checkpoint.
    """
    model = load(run, vocabulary=vocabulary) if isinstance(run, Path | str) else run
    model = model.with_(pooling=pooling, min_coverage=min_coverage, name=name)
    if isinstance(model, GeneformerRun):
        model = model.with_(layer_of=layer_of)
    elif layer_of is not None:
        raise SettingsError(
            f"layer {layer_of} was asked for, but {model.name} is no checkpoint of a rank model: "
            "its cells have one vector each"
        )
    if out is not None:
        refuse_existing(out, force=force)
    from_file = not isinstance(cells, AnnData)
    subject = read_cells(cells, backed=from_file)
    try:
        read: dict[str, Any] = {"layer": layer, "assume_counts": assume_counts}
        if isinstance(model, GeneformerRun):
            vectors_nd = model.transform(subject, **read, batch_size=batch_size, progress=progress)
        else:
            vectors_nd = model.transform(subject, **read, batch_size=batch_size)
        alignment = model.align(subject)
        coverage, missing = alignment.coverage, alignment.missing
        if isinstance(model, GeneformerRun):
            coverage = model.coverage(subject, **read)
            missing = []
        seen_n = model.seen(subject, **read)
    finally:
        if subject.isbacked and from_file:
            subject.file.close()
    _, genes_gd = model.gene_vectors()
    # One row per gene of the data; NaN for genes the run does not know.
    varm = np.full((len(alignment.genes_m), genes_gd.shape[1]), np.nan, dtype=np.float32)
    known = alignment.genes_m >= 0
    varm[known] = genes_gd[alignment.genes_m[known]]
    key = f"X_{model.name}"
    kinds, counts = np.unique(seen_n, return_counts=True)
    seen = {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)}
    facts = {
        "run": model.name,
        "obsm": key,
        "varm": model.name,
        "pooling": model.pooling,
        "coverage": coverage,
        "missing": missing[:100],
        "seen": seen,
    }
    if isinstance(model, GeneformerRun):
        facts |= {"layer_of": model.layer_of, "coverage_of": "counts"}

    def apply(subject: AnnData) -> None:
        subject.obsm[key] = vectors_nd
        subject.varm[model.name] = varm
        record(subject, "embed", facts)

    def write(file: h5py.File, changed: AnnData) -> None:
        for group, values in (("obsm", changed.obsm), ("varm", changed.varm)):
            if group not in file:
                write_elem(file, group, {})
            for name in values:
                write_elem(file[group], name, np.asarray(values[name]))

    copy = None
    if isinstance(cells, AnnData):
        copy = cells.copy()
        apply(copy)
        if out is not None:
            write_cells(copy, out, force=force)
    elif out is not None:
        amend(cells, out, apply, write, force=force)
    return Embedded(
        vectors_nd,
        key,
        coverage,
        missing,
        seen,
        model.pooling,
        copy,
        None if out is None else Path(out),
        of="counts" if isinstance(model, GeneformerRun) else "genes",
        layer_of=model.layer_of if isinstance(model, GeneformerRun) else None,
    )
