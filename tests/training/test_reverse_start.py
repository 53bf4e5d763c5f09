"""Where networks of the reverse problem start, against closed forms and planted noise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellwright.models.reverse_network import ReverseNetwork
from cellwright.training.reverse_build import build_network
from cellwright.training.reverse_groups import ReverseCells
from cellwright.training.reverse_objective import NamedGenes, sharpen
from cellwright.training.reverse_settings import NetworkSettings
from cellwright.training.reverse_start import FLOOR, linear_start


def _cells(noise_sd: float, n: int = 200) -> ReverseCells:
    """Three genes alone and in pairs; noise in one direction beside that of each measured gene."""
    rng = np.random.default_rng(0)
    g = 12
    targets_pc = np.array(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool
    )
    effect_cg = rng.normal(0, 1, (3, g))
    condition_n = np.repeat(np.arange(-1, 6), n)
    shift_ng = np.where(
        (condition_n >= 0)[:, None], targets_pc[condition_n].astype(float) @ effect_cg, 0
    )
    shared_g = rng.normal(0, 1, g)
    x_ng = 5 + shift_ng + noise_sd * rng.normal(0, 0.5, (len(condition_n), g))
    x_ng += 2 * noise_sd * rng.normal(0, 1, len(condition_n))[:, None] * shared_g
    control = condition_n == -1
    return ReverseCells(
        expression_ng=sp.csr_matrix(x_ng.astype(np.float32)),
        condition_n=condition_n,
        targets_pc=targets_pc,
        train_p=np.arange(6),
        val_p=np.array([], dtype=np.int64),
        batch_n=np.zeros(len(condition_n), dtype=np.int64),
        control_bg=x_ng[control].mean(axis=0, keepdims=True).astype(np.float32),
        sd_g=x_ng[control].std(axis=0).astype(np.float32),
    )


def test_codes_compare_as_effects_do_in_the_inverse_of_the_noise() -> None:
    cells = _cells(1.0)
    start = linear_start(cells, 12)
    x_ng = cells.expression_ng.toarray().astype(float)
    apart = np.vstack([x_ng[rows] - x_ng[rows].mean(axis=0) for rows in cells.rows_p])
    noise_gg = apart.T @ apart / (len(apart) - 6)
    # With as many directions as genes nothing is left of a gene's own but the floor.
    noise_gg += FLOOR * np.diagonal(noise_gg).mean() * np.eye(12)
    effect_cg = cells.effects.effect_mg.astype(float)
    wanted_cc = effect_cg @ np.linalg.solve(noise_gg, effect_cg.T)
    found_cc = start.code_cd @ start.code_cd.T
    np.testing.assert_allclose(found_cc / found_cc[0, 0], wanted_cc / wanted_cc[0, 0], atol=2e-4)
    # A query is mapped as the effects were: its code is that of its effect, and the common one.
    code_cd = effect_cg @ start.project_dg.T
    ratio = np.linalg.norm(code_cd) / np.linalg.norm(start.code_cd)
    np.testing.assert_allclose(code_cd, ratio * start.code_cd, atol=1e-4 * ratio)
    common_d = start.project_dg @ cells.effects.common_g
    np.testing.assert_allclose(start.common_d, common_d, atol=1e-4)


def test_cells_without_noise_still_have_a_start() -> None:
    start = linear_start(_cells(0.0, n=3), 12)
    assert np.isfinite(start.project_dg).all()
    assert np.isfinite(start.code_cd).all()
    assert np.abs(start.project_dg).max() < 10


def _started(cells: ReverseCells, settings: NetworkSettings) -> ReverseNetwork:
    model = build_network(settings, genes=cells.genes, candidates=cells.candidates)
    start = linear_start(cells, settings.width)
    for member in model.members:
        member.start_at(
            *(torch.from_numpy(a) for a in (start.project_dg, start.common_d, start.code_cd))
        )
    return model


@pytest.mark.parametrize("loss", ["sets", "softmax", "bce"])
def test_sharpness_begins_where_training_groups_cost_least(loss: str) -> None:
    settings = NetworkSettings(loss=loss, k=1, hidden=())
    cells = _cells(1.0)
    model = _started(cells, settings)
    before = model.members[0].head.log_scale.item()
    sharpen(model, cells, settings)
    chosen = model.members[0].head.log_scale.item()
    objective = NamedGenes(cells, settings)
    batches = list(objective.training_batches(batch_size=settings.batch_size, epoch=0, seed=0))
    model.eval()

    def cost(log_scale: float) -> float:
        with torch.no_grad():
            model.members[0].head.log_scale.fill_(log_scale)
            return sum(float(objective.loss(model, b)) * len(b.target_qc) for b in batches)

    assert cost(chosen) <= cost(before)
    assert cost(chosen) <= cost(chosen + 2)
    assert cost(chosen) <= cost(chosen - 2)


def test_noisier_cells_make_a_network_less_sure() -> None:
    settings = NetworkSettings(k=1, hidden=())
    scales = []
    for noise in (0.1, 3.0):
        cells = _cells(noise)
        model = _started(cells, settings)
        sharpen(model, cells, settings)
        scales.append(model.members[0].head.log_scale.item())
    assert scales[1] < scales[0]
