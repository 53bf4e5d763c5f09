"""The probe against scikit-learn's direct solution, its optimum, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cellwright.errors import DataError
from cellwright.evaluation.probe import Probe, fit_probe, load_probes, save_probes

CLASSES = ("astro", "exc", "inh")


def _cells(n: int, d: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.choice(k, size=n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    codes[:k] = np.arange(k)
    x = rng.normal(size=(n, d)) * rng.lognormal(size=d) + rng.normal(size=d)
    return x + 0.5 * rng.normal(size=(k, d))[codes], codes


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(60, 200), (200, 12)])
@pytest.mark.parametrize("class_weight", ["balanced", None])
def test_the_probe_is_scikit_learns_direct_solution(
    n: int, d: int, k: int, class_weight: str | None
) -> None:
    """In the span of the cells or not: same probabilities to 1e-5, also of new cells."""
    x, codes = _cells(n, d, k)
    new = _cells(50, d, k, seed=1)[0]
    direct = make_pipeline(
        StandardScaler(),
        LogisticRegression(tol=1e-10, max_iter=10_000, class_weight=class_weight),
    ).fit(x, codes)
    probe = fit_probe(x, codes, CLASSES[:k], class_weight=class_weight)
    assert probe.converged
    assert probe.probability(new) == pytest.approx(direct.predict_proba(new), abs=1e-5)
    assert np.array_equal(probe.predict(x), direct.predict(x))


def test_the_probe_sits_at_the_optimum() -> None:
    """No step in a random direction lowers the penalised loss."""
    x, codes = _cells(80, 30, 2)
    probe = fit_probe(x, codes, CLASSES[:2], C=0.5, class_weight=None)

    def loss(coef_d: np.ndarray, intercept: float) -> float:
        z = (x - probe.mean_d) / probe.scale_d @ coef_d + intercept
        logs = log_softmax(np.c_[np.zeros(80), z], axis=1)
        return -logs[np.arange(80), codes].sum() + coef_d @ coef_d / (2 * 0.5)

    at = loss(probe.coef_kd[1], probe.intercept_k[1])
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(20):
            step = size * rng.normal(size=31)
            assert loss(probe.coef_kd[1] + step[:30], probe.intercept_k[1] + step[30]) >= at


def test_constant_dimensions_and_float32_change_nothing() -> None:
    x, codes = _cells(70, 10, 2)
    plain = fit_probe(x, codes, CLASSES[:2])
    padded = np.c_[x, np.full(70, 0.1), np.zeros(70)].astype(np.float32)
    probe = fit_probe(padded, codes, CLASSES[:2])
    assert np.allclose(probe.coef_kd[:, 10:], 0)
    assert probe.probability(padded) == pytest.approx(plain.probability(x), abs=1e-4)


def test_a_class_without_training_cells_is_never_named() -> None:
    x, codes = _cells(60, 5, 2)
    probe = fit_probe(x, codes * 2, CLASSES)
    probability = probe.probability(x)
    assert (probability[:, 1] == 0).all()
    assert probability.sum(axis=1) == pytest.approx(np.ones(60))


def test_separable_cells_converge() -> None:
    codes = np.arange(40) % 2
    x = np.where(codes[:, None] == 1, 1e3, -1e3) + np.random.default_rng(0).normal(size=(40, 300))
    probe = fit_probe(x, codes, CLASSES[:2])
    assert probe.converged
    assert (probe.predict(x) == codes).all()


def test_a_fit_that_stopped_early_is_not_called_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellwright.evaluation.probe.MAX_ITERATIONS", 1)
    x, codes = _cells(200, 12, 3)
    assert not fit_probe(x, codes, CLASSES, C=100.0).converged


def test_probes_come_back_from_their_file_without_pickle(tmp_path: Path) -> None:
    x, codes = _cells(60, 8, 3)
    probes = {"pca": fit_probe(x, codes, CLASSES), "run 1": fit_probe(x[:, :3], codes, CLASSES)}
    save_probes(probes, tmp_path / "probe.npz")
    back = load_probes(tmp_path / "probe.npz")
    assert list(back) == ["pca", "run 1"]
    assert back["pca"].classes == CLASSES
    assert np.array_equal(back["pca"].probability(x), probes["pca"].probability(x))
    with np.load(tmp_path / "probe.npz", allow_pickle=False) as stored:
        assert all(stored[key].dtype != object for key in stored.files)


def test_foreign_and_missing_probe_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, x=np.arange(3))
    text = tmp_path / "notes.npz"
    text.write_text("not an archive")
    single = tmp_path / "single.npz"
    with single.open("wb") as file:
        np.save(file, np.arange(3))
    for path in (foreign, text, single):
        with pytest.raises(DataError, match=path.name):
            load_probes(path)
    with pytest.raises(DataError, match=r"no probe file at .*gone\.npz"):
        load_probes(tmp_path / "gone.npz")


def test_wrong_vectors_and_single_classes_are_refused() -> None:
    x, codes = _cells(60, 8, 2)
    probe: Probe = fit_probe(x, codes, CLASSES[:2])
    with pytest.raises(DataError, match=r"8 dimensions .* \(60, 5\)"):
        probe.probability(x[:, :5])
    with pytest.raises(DataError, match="only 'exc'"):
        fit_probe(x, np.ones(60, dtype=np.int64), CLASSES)
    with pytest.raises(DataError, match="probe of pca"):
        fit_probe(x[:0], codes[:0], CLASSES, name="pca")
    assert probe.probability(x[:0]).shape == (0, 2)
