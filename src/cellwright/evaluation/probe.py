"""The probe: class-balanced logistic regression on standardized vectors, kept as plain arrays.

With fewer cells than dimensions the fit runs in the span of the training cells: turning the axes
leaves the L2 penalty and the optimum as they are, and directions that no training cell has get
weight zero either way. 2,000 genes and 900 cells then cost 900 dimensions.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from cellwright.data.atomic import atomic_file
from cellwright.errors import DataError

MAX_ITERATIONS = 1000
FLAT = 1e-3
BLOCK = 16_384  # cells predicted at once
FIELDS = ("classes", "coef_kd", "intercept_k", "mean_d", "scale_d", "converged")


@dataclass(frozen=True)
class Probe:
    """A fitted probe: softmax of ``((x - mean) / scale) @ coef.T + intercept``.

    ``coef_kd`` has a row for every class; with two classes the first row is zero, which is
    ordinary logistic regression. A class without training cells has intercept -inf and is never
    predicted. ``converged`` is False if the loss still had a slope where the optimiser stopped.
    """

    classes: tuple[str, ...]
    coef_kd: NDArray[np.float64]
    intercept_k: NDArray[np.float64]
    mean_d: NDArray[np.float64]
    scale_d: NDArray[np.float64]
    converged: bool = True

    def probability(self, vectors_nd: NDArray[np.floating]) -> NDArray[np.float64]:
        """Class probabilities (n, k), rows sum to 1.

        Raises
        ------
        DataError
            If the vectors have another number of dimensions than the probe.
        """
        if vectors_nd.ndim != 2 or vectors_nd.shape[1] != len(self.mean_d):
            raise DataError(
                f"the probe was fitted on {len(self.mean_d)} dimensions "
                f"and was given vectors of shape {vectors_nd.shape}"
            )
        weight_kd = self.coef_kd / self.scale_d
        offset_k = self.intercept_k - weight_kd @ self.mean_d
        blocks = [
            np.asarray(vectors_nd[start : start + BLOCK], dtype=np.float64) @ weight_kd.T + offset_k
            for start in range(0, len(vectors_nd), BLOCK)
        ]
        if not blocks:
            return np.zeros((0, len(self.classes)))
        return softmax(np.concatenate(blocks), axis=1)

    def predict(self, vectors_nd: NDArray[np.floating]) -> NDArray[np.int64]:
        """Index into ``classes`` of the most probable class, (n,)."""
        return self.probability(vectors_nd).argmax(axis=1)


class Standardized:
    """Training vectors made ready once, to be fitted with any labels (real or permuted)."""

    def __init__(self, vectors_nd: NDArray[np.floating], *, name: str = "the representation"):
        if not len(vectors_nd):
            raise DataError(f"no training cell for the probe of {name}")
        # Double precision as long as it costs less than half a gigabyte.
        precision = np.float64 if vectors_nd.size <= 5e7 else np.float32
        self._tol = 1e-8 if precision is np.float64 else 1e-5
        eps = float(np.finfo(precision).eps)
        x: NDArray[Any] = np.array(vectors_nd, dtype=precision)
        self.mean_d = x.mean(axis=0, dtype=np.float64)
        scale_d = x.std(axis=0, dtype=np.float64)
        # A constant column has no scale; what is left of it is rounding.
        constant = scale_d <= 10 * eps * np.abs(self.mean_d)
        self.scale_d = np.where(constant | (scale_d == 0), 1.0, scale_d)
        x -= self.mean_d.astype(x.dtype)
        x /= self.scale_d.astype(x.dtype)
        x[:, constant] = 0
        self._axes_rd: NDArray[np.floating] | None = None
        if len(x) < x.shape[1]:
            power_n, turn_nn = np.linalg.eigh(x @ x.T)
            keep = power_n > power_n[-1] * len(x) * eps
            length_r = np.sqrt(power_n[keep])
            self._axes_rd = (turn_nn[:, keep] / length_r).T @ x
            x = turn_nn[:, keep] * length_r
        self._x_nr = x

    def fit(
        self,
        label_codes_n: NDArray[np.int64],
        classes: tuple[str, ...],
        *,
        C: float = 1.0,
        class_weight: str | None = "balanced",
        tol: float = 1e-8,
    ) -> Probe:
        """The probe for these labels: minimum of weighted log loss + |coef|² / 2C.

        Raises
        ------
        DataError
            If the labels are all of one class.
        """
        present = np.unique(label_codes_n)
        if len(present) < 2:
            raise DataError(
                f"a probe needs two classes to learn from and was given only {classes[present[0]]!r}"
            )
        # Newton steps need no well-scaled axes; lbfgs at its usual tolerance stops far from the
        # optimum here.
        model = LogisticRegression(
            C=C,
            class_weight=class_weight,
            tol=max(tol, self._tol),
            max_iter=MAX_ITERATIONS,
            solver="newton-cg",
        )
        with warnings.catch_warnings():
            # At the limits of its precision the line search complains although the optimum is
            # found; what counts is the slope that is left.
            warnings.simplefilter("ignore")
            model.fit(self._x_nr, label_codes_n)
        coef = np.asarray(model.coef_, dtype=np.float64)
        intercept = np.asarray(model.intercept_, dtype=np.float64)
        if len(present) == 2:
            coef = np.vstack([np.zeros_like(coef), coef])
            intercept = np.r_[0.0, intercept]
        converged = self._slope(coef, intercept, label_codes_n, class_weight, C) < FLAT
        if self._axes_rd is not None:
            coef = coef @ self._axes_rd
        coef_kd = np.zeros((len(classes), len(self.mean_d)))
        intercept_k = np.full(len(classes), -np.inf)
        coef_kd[present], intercept_k[present] = coef, intercept
        return Probe(classes, coef_kd, intercept_k, self.mean_d, self.scale_d, converged)

    def _slope(
        self,
        coef: NDArray[np.float64],
        intercept: NDArray[np.float64],
        label_codes_n: NDArray[np.int64],
        class_weight: str | None,
        C: float,
    ) -> float:
        """Largest derivative of the loss per cell at the fit (0 at the optimum)."""
        _, code_n, size_k = np.unique(label_codes_n, return_inverse=True, return_counts=True)
        n, k = len(code_n), len(size_k)
        weight_n = n / (k * size_k[code_n]) if class_weight == "balanced" else np.ones(n)
        error_nk = softmax(self._x_nr @ coef.T + intercept, axis=1)
        error_nk[np.arange(n), code_n] -= 1
        error_nk *= weight_n[:, None]
        slope_kr = error_nk.T @ self._x_nr + coef / C
        # The first of two rows is pinned to zero.
        free = slice(1, None) if k == 2 else slice(None)
        return float(max(np.abs(slope_kr[free]).max(), np.abs(error_nk.sum(axis=0)).max()) / n)


def fit_probe(
    vectors_nd: NDArray[np.floating],
    label_codes_n: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    C: float = 1.0,
    class_weight: str | None = "balanced",
    name: str = "the representation",
) -> Probe:
    """Fit the probe on training cells (all rows given).

    Mean and scale come from these rows. C = 1 on standardized vectors for every representation,
    so none gets a better-tuned probe than its rivals.

    Raises
    ------
    DataError
        Without training cells, or with one class.
    """
    return Standardized(vectors_nd, name=name).fit(
        label_codes_n, classes, C=C, class_weight=class_weight
    )


def save_probes(probes: Mapping[str, Probe], path: Path) -> None:
    """Write probes by representation name to one ``.npz`` of plain arrays (no pickle), atomically.

    Keys: ``names`` and, for the i-th, ``i/classes``, ``i/coef_kd``, ``i/intercept_k``,
    ``i/mean_d``, ``i/scale_d``, ``i/converged``.
    """
    arrays = {"names": np.array(list(probes), dtype=np.str_)}
    for i, probe in enumerate(probes.values()):
        for field in FIELDS:
            value = getattr(probe, field)
            arrays[f"{i}/{field}"] = np.array(value, dtype=np.str_ if field == "classes" else None)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_probes(path: Path) -> dict[str, Probe]:
    """Read what ``save_probes`` wrote, with ``allow_pickle=False``.

    Raises
    ------
    DataError
        If the file is missing or is no probe file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            out = {}
            for i, name in enumerate(stored["names"]):
                part = {field: stored[f"{i}/{field}"] for field in FIELDS}
                classes = tuple(str(c) for c in part.pop("classes"))
                converged = bool(part.pop("converged"))
                out[str(name)] = Probe(classes=classes, converged=converged, **part)
            return out
    except FileNotFoundError:
        raise DataError(f"no probe file at {path}") from None
    except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is not a probe file written by cellwright probe: {error}"
        ) from None
