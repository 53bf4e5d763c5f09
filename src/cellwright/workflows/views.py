"""Every representation in one form: what the user named, and what it must stand beside.

What fits in under a minute (variable genes, components, batches) is refitted on the training
cells of each fold; run folders, ``obsm`` columns and files are taken as they are, and every view
says what it has seen of each cell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.catalog import REPRESENTATIONS
from cellwright.config import nearest
from cellwright.data.reading import counts_of
from cellwright.data.split import split_unit
from cellwright.errors import DataError, SettingsError
from cellwright.interfaces import CellView, Representation
from cellwright.representations.arrays import from_file, from_obsm
from cellwright.representations.expression import LogCounts
from cellwright.representations.hvg import HighlyVariableGenes
from cellwright.representations.pca import PrincipalComponents
from cellwright.representations.technical import Batch, Depth, DepthAndBatch, size_column
from cellwright.workflows.subject import Subject

log = logging.getLogger("cellwright.workflows.views")

UNTRAINED = "untrained"
SIMPLE = (HighlyVariableGenes.name, PrincipalComponents.name)
SHORTCUTS = (Depth.name, Batch.name, DepthAndBatch.name)
NEEDS_COLUMN = (Batch.name, DepthAndBatch.name)


@dataclass(frozen=True)
class Views:
    """Representations ready to be judged.

    views: those asked for, then the simple methods. asked: the names of the first. notes: what a
    reader must know (a baseline left out, a column not used). unseen_n: True for cells that no run
    among them was fitted on; None without a run.
    """

    views: tuple[CellView, ...]
    asked: tuple[str, ...]
    notes: tuple[str, ...]
    unseen_n: NDArray[np.bool_] | None = field(default=None)

    def __iter__(self) -> Any:
        return iter(self.views)

    def __getitem__(self, name: str) -> CellView:
        return next(view for view in self.views if view.name == name)


def build_views(
    cells: AnnData | Subject,
    reps: Iterable[str] = (),
    *,
    batch: str | None = "auto",
    size: str | None = None,
    beside: Sequence[str] = (*SIMPLE, *SHORTCUTS),
    seed: int = 0,
) -> Views:
    """Turn names of representations into views of ``cells``.

    Parameters
    ----------
    reps
        Catalog names (``hvg``, ``pca``, ``depth`` …), run folders, folders of a Geneformer
        checkpoint with its vocabulary, ``obsm:KEY`` or ``file:PATH.npy``.
    batch
        Column of the batch baselines; ``"auto"``: the column the cells would be split by; None:
        there are no batches.
    size
        Column of ``obs`` with the counts of the whole library, for the depth baseline.
    beside
        The simple methods and shortcuts to add, which every representation is judged beside; with
        them comes an untrained encoder for every run. A simple method that was asked for is a
        rival of what else was asked for, and is judged itself where nothing else was.
    seed
        Seed of the baselines.

    Raises
    ------
    SettingsError
        For a name that is none of these; the nearest is named.
    DataError
        If vectors do not fit the cells.
    """
    subject = cells if isinstance(cells, Subject) else Subject(cells, counts_of(cells))
    column = split_unit(subject.cells.obs) if batch == "auto" else batch
    baselines = _Baselines(subject, column, size, seed)
    asked: dict[str, CellView] = {}
    untrained: dict[str, CellView] = {}
    unseen_n: NDArray[np.bool_] | None = None
    names = list(dict.fromkeys(reps))
    for rep in names:
        if rep in REPRESENTATIONS:
            asked[rep] = baselines.view(rep)
        elif rep.startswith("obsm:"):
            key = rep.removeprefix("obsm:")
            asked[rep] = _frozen(rep, subject, from_obsm(subject.cells, key))
        elif rep.startswith("file:"):
            path = rep.removeprefix("file:")
            asked[rep] = _frozen(rep, subject, from_file(path, subject.cells.n_obs))
        elif Path(rep).is_dir():
            trained, random = _run(Path(rep), subject, taken={*asked, *REPRESENTATIONS, UNTRAINED})
            asked[trained.name] = trained
            several = sum(Path(r).is_dir() for r in names) > 1
            name = f"{UNTRAINED} {trained.name}" if several else UNTRAINED
            untrained[name] = CellView(**{**random.__dict__, "name": name})
            # A published checkpoint has seen nobody knows what: no cells are clean or not for it.
            if not (trained.seen_n == "unknown").all():
                clean_n = trained.seen_n == "clean"
                unseen_n = clean_n if unseen_n is None else unseen_n & clean_n
        elif rep != UNTRAINED:
            raise SettingsError(_unknown(rep, subject.cells))
    if UNTRAINED in names and not untrained:
        raise SettingsError("--rep untrained needs a run folder beside it: it is its random start")
    if asked and all(name in REPRESENTATIONS for name in asked) and not untrained:
        asked = {n: CellView(**{**v.__dict__, "baseline": False}) for n, v in asked.items()}
    views = dict(asked)
    if beside or UNTRAINED in names:
        views |= untrained
    views |= {
        name: baselines.view(name)
        for name in beside
        if name not in views and (column is not None or name not in NEEDS_COLUMN)
    }
    notes = _notes(subject, column, size, views, beside)
    for note in notes:
        log.info(note)
    wanted = tuple(asked) + tuple(n for n in untrained if UNTRAINED in names)
    return Views(tuple(views.values()), wanted, tuple(notes), unseen_n)


class _Baselines:
    """Views of the catalog's entries on one set of cells."""

    def __init__(self, subject: Subject, column: str | None, size: str | None, seed: int) -> None:
        self._subject = subject
        self._column = column
        self._seed = seed
        self._size = size
        self._depth_nd: NDArray[np.float32] | None = None

    def view(self, name: str) -> CellView:
        subject, column, seed = self._subject, self._column, self._seed
        if name == HighlyVariableGenes.name:
            return self._refitted(name, HighlyVariableGenes, lambda rows: self._expression(rows))
        if name == PrincipalComponents.name:
            return self._refitted(
                name, lambda: PrincipalComponents(seed=seed), lambda rows: self._expression(rows)
            )
        if name == Depth.name:
            return _view(name, subject, lambda _: self._depth(), "clean", baseline=True)
        if name in NEEDS_COLUMN and column is None:
            raise DataError(
                f"the representation {name!r} needs a column that names donor, library or batch; "
                f"name one with --group (columns: {', '.join(map(str, subject.cells.obs))})"
            )
        batch = self._refitted(Batch.name, lambda: Batch(column), lambda rows: self._cells(rows))
        if name == Batch.name:
            return batch
        if name == DepthAndBatch.name:
            return _view(
                name,
                subject,
                lambda rows: np.hstack([self._depth(), batch.vectors(rows)]),
                "clean",
                baseline=True,
                refitted=True,
            )
        return self._refitted(name, REPRESENTATIONS[name], lambda rows: self._cells(rows))

    def _depth(self) -> NDArray[np.float32]:
        if self._depth_nd is None:
            rep = Depth(self._size, self._subject.assume_counts).fit(self._subject.slim)
            self._depth_nd = rep.transform(self._subject.slim)
        return self._depth_nd

    def _expression(self, rows: NDArray[np.int64] | None) -> LogCounts:
        whole = self._subject.expression
        return whole if rows is None else whole.rows(rows)

    def _cells(self, rows: NDArray[np.int64] | None) -> AnnData:
        return self._subject.slim if rows is None else self._subject.slim[rows]

    def _refitted(
        self,
        name: str,
        make: Callable[[], Representation],
        part: Callable[[NDArray[np.int64] | None], Any],
    ) -> CellView:
        # What was learned is small and kept for every fold; vectors are large: only the last stay.
        fitted: dict[bytes, Representation] = {}
        last: dict[bytes, NDArray[np.float32]] = {}

        def vectors(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            key = np.asarray(rows, dtype=np.int64).tobytes()
            if key not in last:
                if key not in fitted:
                    fitted[key] = make().fit(part(rows))
                last.clear()
                last[key] = fitted[key].transform(part(None))
            return last[key]

        return _view(name, self._subject, vectors, "clean", baseline=True, refitted=True)


def _view(
    name: str,
    subject: Subject,
    vectors: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    seen: str | NDArray[np.str_],
    *,
    baseline: bool = False,
    refitted: bool = False,
) -> CellView:
    seen_n = np.full(subject.cells.n_obs, seen) if isinstance(seen, str) else seen
    return CellView(name, vectors, seen_n, subject.cells.obs, baseline, refitted)


def _frozen(name: str, subject: Subject, vectors_nd: NDArray[np.float32]) -> CellView:
    return _view(name, subject, lambda _: vectors_nd, "unknown")


def _run(folder: Path, subject: Subject, taken: set[str]) -> tuple[CellView, CellView]:
    """The views of a run and of its random start; what a run embeds is computed once, on demand."""
    # Here and not at the top: PyTorch takes seconds to import, and only a run needs it.
    from cellwright.representations import loading

    run = loading.load(folder)
    name = run.name if run.name not in taken else str(folder)
    seen_n = run.seen(subject.slim, assume_counts=subject.assume_counts)
    views = []
    for source, baseline in ((run, False), (run.untrained(), True)):
        kept: list[NDArray[np.float32]] = []

        def vectors(
            _: NDArray[np.int64], source: Any = source, kept: list[Any] = kept
        ) -> NDArray[np.float32]:
            if not kept:
                kept.append(source.transform(subject.slim, assume_counts=subject.assume_counts))
            return kept[0]

        views.append(_view(name, subject, vectors, seen_n, baseline=baseline))
    return views[0], views[1]


def _unknown(rep: str, cells: AnnData) -> str:
    if rep.endswith(".npy"):
        return f"no representation {rep!r}: name a file of vectors as file:{rep}"
    known = [*REPRESENTATIONS, UNTRAINED, *(f"obsm:{key}" for key in cells.obsm)]
    close = nearest(rep, known)
    hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"
    return (
        f"no representation {rep!r} and no run folder of that name: {hint} "
        "(also a run folder, obsm:KEY or file:PATH.npy)"
    )


def _notes(
    subject: Subject,
    column: str | None,
    size: str | None,
    views: Iterable[str],
    beside: Sequence[str],
) -> list[str]:
    notes = []
    if column is None and set(beside) & set(NEEDS_COLUMN):
        notes.append(
            "No column of obs names a donor, library or batch, so the batch baselines are left "
            "out; name one with --group."
        )
    found = size_column(subject.cells.obs)
    if Depth.name in views and size is None and found is not None:
        notes.append(
            f"Depth is counted from the {subject.cells.n_vars} genes of this file; obs has "
            f"{found!r}, which --size-column {found} would use for the whole library."
        )
    return notes
