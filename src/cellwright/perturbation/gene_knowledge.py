"""What is known of genes beside their expression: the same columns for measured and candidate genes.

Knowledge belongs to a gene by its name and knows nothing of cells or labels, so that a candidate
that was never seen perturbed has as much of it as any other. Where nothing is known of a gene, its
columns are zero, and a source that does not know every gene brings a column that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError

_NO_PAIRS = np.zeros((0, 0, 0), dtype=np.float32)


@dataclass(frozen=True)
class GeneKnowledge:
    """Features of g measured and c candidate genes.

    names_d: of the columns; measured_gd, candidate_cd: float32, same columns; source_d: where each
    column is from (``positions``, ``tf``, …), what an ablation leaves out together. pair_names_p,
    pair_ccp: what is known of a candidate towards another (row towards column), float32.
    """

    names_d: tuple[str, ...]
    measured_gd: NDArray[np.float32]
    candidate_cd: NDArray[np.float32]
    source_d: tuple[str, ...] = ()
    pair_names_p: tuple[str, ...] = ()
    pair_ccp: NDArray[np.float32] = field(default_factory=lambda: _NO_PAIRS)

    def __post_init__(self) -> None:
        d = len(self.names_d)
        if not self.source_d:
            object.__setattr__(self, "source_d", ("knowledge",) * d)
        if not self.pair_names_p:
            c = len(self.candidate_cd)
            object.__setattr__(self, "pair_ccp", np.zeros((c, c, 0), dtype=np.float32))
        for what, found in (
            ("measured genes", self.measured_gd.shape[1]),
            ("candidates", self.candidate_cd.shape[1]),
            ("sources", len(self.source_d)),
        ):
            if found != d:
                raise DataError(
                    f"gene knowledge has {d} names of columns, but {found} columns of {what}"
                )
        for what, values in (
            ("measured", self.measured_gd),
            ("candidate", self.candidate_cd),
            ("pair", self.pair_ccp),
        ):
            if not np.isfinite(values).all():
                raise DataError(f"gene knowledge of {what} genes holds a value that is no number")

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the columns are from, each once, in order."""
        return tuple(dict.fromkeys(self.source_d))

    def only(self, kept_g: NDArray[np.bool_]) -> GeneKnowledge:
        """The same of fewer measured genes; candidates stay."""
        return replace(self, measured_gd=self.measured_gd[kept_g])

    def of(self, sources: Sequence[str]) -> GeneKnowledge:
        """Only the columns and pairs of these sources; none of them is zero columns wide."""
        keep = np.array([s in sources for s in self.source_d], dtype=bool)
        pairs = [i for i, n in enumerate(self.pair_names_p) if n.split(" ")[0] in sources]
        return GeneKnowledge(
            tuple(n for n, k in zip(self.names_d, keep, strict=True) if k),
            self.measured_gd[:, keep],
            self.candidate_cd[:, keep],
            tuple(s for s, k in zip(self.source_d, keep, strict=True) if k),
            tuple(self.pair_names_p[i] for i in pairs),
            self.pair_ccp[:, :, pairs],
        )


def joined_knowledge(parts: Sequence[GeneKnowledge]) -> GeneKnowledge:
    """Several sources side by side, for the same measured and candidate genes.

    Raises
    ------
    DataError
        If there is none, a source comes twice, or they are about different numbers of genes.
    """
    if not parts:
        raise DataError("no gene knowledge to join")
    seen: set[str] = set()
    for part in parts:
        twice = seen & set(part.sources)
        if twice:
            raise DataError(f"the gene knowledge {min(twice)!r} is given twice; give it once")
        seen |= set(part.sources)
        shapes = (len(part.measured_gd), len(part.candidate_cd))
        first = (len(parts[0].measured_gd), len(parts[0].candidate_cd))
        if shapes != first:
            raise DataError(
                f"gene knowledge of {shapes[0]} measured and {shapes[1]} candidate genes cannot "
                f"stand beside that of {first[0]} and {first[1]}"
            )
    return GeneKnowledge(
        tuple(n for p in parts for n in p.names_d),
        np.hstack([p.measured_gd for p in parts]),
        np.hstack([p.candidate_cd for p in parts]),
        tuple(s for p in parts for s in p.source_d),
        tuple(n for p in parts for n in p.pair_names_p),
        np.concatenate([p.pair_ccp for p in parts], axis=2),
    )


def knowledge_of(
    source: str,
    names_d: Sequence[str],
    measured_gd: NDArray[np.floating],
    candidate_cd: NDArray[np.floating],
    known_g: NDArray[np.bool_] | None = None,
    known_c: NDArray[np.bool_] | None = None,
    pairs: Sequence[tuple[str, NDArray[np.floating]]] = (),
) -> GeneKnowledge:
    """Knowledge of one source from plain arrays.

    Parameters
    ----------
    known_g, known_c
        Genes that the source knows; the others get zeros. Where it does not know all of them, a
        column ``SOURCE known`` is added.
    pairs
        Name and (c, c) values of what it knows of candidates towards each other.
    """
    measured = np.asarray(measured_gd, dtype=np.float32)
    candidate = np.asarray(candidate_cd, dtype=np.float32)
    names = [f"{source} {name}" for name in names_d]
    g, c = len(measured), len(candidate)
    known_g = np.ones(g, dtype=bool) if known_g is None else known_g
    known_c = np.ones(c, dtype=bool) if known_c is None else known_c
    measured = np.where(known_g[:, None], measured, np.float32(0))
    candidate = np.where(known_c[:, None], candidate, np.float32(0))
    if not (known_g.all() and known_c.all()):
        names.append(f"{source} known")
        measured = np.column_stack([measured, known_g.astype(np.float32)])
        candidate = np.column_stack([candidate, known_c.astype(np.float32)])
    pair_ccp = np.stack([v for _, v in pairs], axis=2) if pairs else np.zeros((c, c, 0))
    return GeneKnowledge(
        tuple(names),
        measured,
        candidate,
        (source,) * len(names),
        tuple(f"{source} {name}" for name, _ in pairs),
        pair_ccp.astype(np.float32),
    )


def pair_features(knowledge: GeneKnowledge) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Features between candidates, for edges of a graph of genes.

    Of every source the cosine of the two genes' columns, and what the source knows of the pair
    itself (same chromosome, one regulates the other); zero on the diagonal.

    Returns
    -------
    Names (p,) and values (c, c, p) float32, finite.
    """
    c = len(knowledge.candidate_cd)
    names: list[str] = []
    layers: list[NDArray[np.float32]] = []
    for source in knowledge.sources:
        columns = np.array([s == source for s in knowledge.source_d])
        x = knowledge.candidate_cd[:, columns].astype(np.float64)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        unit = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
        names.append(f"{source} cosine")
        layers.append((unit @ unit.T).astype(np.float32))
    names += knowledge.pair_names_p
    layers += [knowledge.pair_ccp[:, :, i] for i in range(knowledge.pair_ccp.shape[2])]
    values = np.stack(layers, axis=2) if layers else np.zeros((c, c, 0), dtype=np.float32)
    values[np.arange(c), np.arange(c)] = 0
    return tuple(names), values
