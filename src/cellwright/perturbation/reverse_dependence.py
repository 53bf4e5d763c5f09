"""Dependence check: may what a network is given depend on the answer?

Labels are permuted while cells, groups, batches, controls and the candidate list stay as they are;
every input is made again from the permuted labels and compared bit for bit with what the network
was given. What changes was made from labels. The check knows nothing of positions, of knowledge or
of any other kind of input. The leak it is for: a published prototype fed its network the
chromosome position of the gene that the label names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.interfaces import Check
from cellwright.perturbation.reverse import Screen

ROUNDS = 2


def relabelled(screen: Screen, *, rounds: int = ROUNDS, seed: int = 0) -> Iterator[Screen]:
    """The same cells, groups, batches, controls and candidates with other labels.

    Three ways in each round: what the codes of conditions stand for is exchanged; the codes of
    cells are exchanged; perturbed genes are exchanged for one another in all conditions. In each,
    cells that shared a label share one still.

    Raises
    ------
    DataError
        If there is one condition only, which cannot be exchanged.
    """
    p = len(screen.conditions)
    if p < 2:
        raise DataError(
            f"labels cannot be permuted with {p} perturbation, which the dependence check needs: "
            "give two or more"
        )
    perturbed_c = np.flatnonzero(screen.targets_pc.any(axis=0))
    for number in range(rounds):
        rng = np.random.default_rng([seed, number])
        order_p = _moved(rng, p)
        yield replace(
            screen,
            conditions=tuple(screen.conditions[i] for i in order_p),
            genes_p=tuple(screen.genes_p[i] for i in order_p),
            targets_pc=screen.targets_pc[order_p],
        )
        code_n = screen.condition_n.copy()
        code_n[code_n >= 0] = order_p[code_n[code_n >= 0]]
        yield replace(screen, condition_n=code_n)
        if len(perturbed_c) > 1:
            yield _other_genes(screen, perturbed_c, perturbed_c[_moved(rng, len(perturbed_c))])


def changed_inputs(
    given: Mapping[str, Any],
    build: Callable[[Screen], Mapping[str, Any]],
    screen: Screen,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> dict[str, int]:
    """Inputs that change with the labels, and in how many permutations; empty if none does.

    Raises
    ------
    DataError
        If an input that the network was given cannot be made again from the true labels, or the
        inputs do not have the same names.
    """
    again = build(screen)
    for name in sorted({*given, *again}):
        if name not in given or name not in again or not same_bits(given[name], again[name]):
            raise DataError(
                f"the input {name!r} of the network is not what comes out when it is made again "
                "from the same cells and labels, so that whether it depends on labels cannot be "
                "told; make it from the cells, the screen and named files alone"
            )
    changed: dict[str, int] = {}
    for other in relabelled(screen, rounds=rounds, seed=seed):
        rebuilt = build(other)
        for name, array in given.items():
            if name not in rebuilt or not same_bits(array, rebuilt[name]):
                changed[name] = changed.get(name, 0) + 1
        for name in set(rebuilt) - set(given):
            changed[name] = changed.get(name, 0) + 1
    return changed


def check_dependence(
    given: Mapping[str, Any],
    build: Callable[[Screen], Mapping[str, Any]],
    screen: Screen,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Check:
    """Refuse a network that is given an input which changes when labels are permuted.

    Parameters
    ----------
    given
        Every input array of the network by name, dense or sparse, as it is trained on them.
    build
        Makes the same inputs from a screen. It must draw the same groups of cells whatever the
        cells are called, and is called with the true labels too.

    Raises
    ------
    DataError
        If an input changes, or cannot be made again.
    """
    changed = changed_inputs(given, build, screen, rounds=rounds, seed=seed)
    total = sum(1 for _ in relabelled(screen, rounds=rounds, seed=seed))
    if changed:
        worst = max(changed, key=lambda name: changed[name])
        raise DataError(
            f"refused: the network's input {worst!r} changes in {changed[worst]} of {total} "
            "permutations of the labels, while cells, groups, batches and candidates stay the "
            "same"
            + (f" (so do {', '.join(sorted(set(changed) - {worst}))})" if len(changed) > 1 else "")
            + ": it is made from the answer, and any score with it would be worthless; leave it out"
        )
    return Check(
        "dependence",
        "note",
        f"Dependence check: {len(given)} input arrays of the network, made again under {total} "
        "permutations of the labels, did not change in one bit.",
    )


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays, dense or sparse, have the same type, shape and bits."""
    if sp.issparse(one) or sp.issparse(other):
        if not (sp.issparse(one) and sp.issparse(other)) or one.shape != other.shape:
            return False
        a, b = one.tocsr(), other.tocsr()
        return all(same_bits(getattr(a, n), getattr(b, n)) for n in ("indptr", "indices", "data"))
    a, b = np.ascontiguousarray(one), np.ascontiguousarray(other)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.hasobject:
        return bool(np.array_equal(a, b))
    return bool(np.array_equal(a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8)))


def _moved(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """A permutation in one cycle: nothing stays where it was."""
    cycle = rng.permutation(n)
    order = np.empty(n, dtype=np.int64)
    order[cycle] = np.roll(cycle, 1)
    return order


def _other_genes(screen: Screen, genes_c: NDArray[np.int64], others_c: NDArray[np.int64]) -> Screen:
    """Every perturbed gene exchanged for another one, wherever it is perturbed."""
    name = {
        screen.candidates[a]: screen.candidates[b] for a, b in zip(genes_c, others_c, strict=True)
    }
    targets = screen.targets_pc.copy()
    targets[:, others_c] = screen.targets_pc[:, genes_c]
    genes = tuple(tuple(sorted(name[g] for g in group)) for group in screen.genes_p)
    # What is behind the genes tells held-out cells of a perturbation from the others.
    behind = [
        condition.removeprefix(screen.genes_named(code))
        for code, condition in enumerate(screen.conditions)
    ]
    return replace(
        screen,
        conditions=tuple("+".join(group) + end for group, end in zip(genes, behind, strict=True)),
        genes_p=genes,
        targets_pc=targets,
    )
