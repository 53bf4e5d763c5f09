"""The dependence check refuses what is made from labels, and the published leak first of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError
from cellwright.evaluation.target_ranking import rank_metrics
from cellwright.perturbation.reverse_dependence import (
    changed_inputs,
    check_dependence,
    relabelled,
    same_bits,
)
from cellwright.perturbation.reverse_methods import one_vs_rest


@pytest.fixture
def groups(planted):
    """Rows of four groups of five cells of each condition."""
    rng = np.random.default_rng(0)
    screen = planted.screen
    return [
        rng.choice(screen.rows_of(p), 5, replace=False)
        for p in range(len(screen.conditions))
        for _ in range(4)
    ]


@pytest.fixture
def build(planted, groups):
    """Honest inputs: means of the groups, their shift from controls, the spread of controls."""

    def inputs(screen):
        x = planted.expression_ng
        controls = x[screen.condition_n == -1]
        mean = np.stack([x[rows].mean(axis=0) for rows in groups])
        return {
            "mean_qg": mean.astype(np.float32),
            "shift_qg": (mean - controls.mean(axis=0)).astype(np.float32),
            "sd_g": controls.std(axis=0),
            "cells": sp.csr_matrix(x),
        }

    return inputs


def leaked_positions(screen, groups, position_c):
    """The prototype's encoding: where the gene lies that the *label* of the cells names."""
    code_q = np.array([screen.condition_n[rows[0]] for rows in groups])
    targets = screen.targets_pc[code_q].astype(float)
    return (targets @ position_c / targets.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def position_c(planted):
    """A chromosome of 24 and a relative position for each candidate."""
    rng = np.random.default_rng(9)
    c = len(planted.screen.candidates)
    return np.column_stack([np.eye(24)[rng.integers(24, size=c)], rng.random(c)])


def test_the_leak_of_the_published_prototype_is_refused(planted, groups, build, position_c):
    """A model given label-derived positions scores splendidly, and is refused for it."""
    screen = planted.screen

    def leaking(labels):
        return build(labels) | {"locus_qd": leaked_positions(labels, groups, position_c)}

    # On doubles that training never saw: cells that hold nothing at all, with and without the leak.
    code_q = np.array([screen.condition_n[rows[0]] for rows in groups])
    double_q = screen.targets_pc[code_q].sum(axis=1) == 2
    truth_qc = screen.targets_pc[code_q]
    noise_qg = np.random.default_rng(1).normal(size=(len(groups), 60))
    found = {}
    for name, x in (
        ("honest", noise_qg),
        ("leak", np.column_stack([noise_qg, 10 * leaking(screen)["locus_qd"]])),
    ):
        weight, intercept = one_vs_rest(x[~double_q], truth_qc[~double_q], c=1.0)
        scores = rank_metrics(x[double_q] @ weight + intercept, truth_qc[double_q])
        found[name] = scores["exact_set@1"].mean()
    assert found["leak"] > 0.9 and found["honest"] < 0.2

    with pytest.raises(DataError, match=r"'locus_qd' changes in \d of 6 permutations"):
        check_dependence(leaking(screen), leaking, screen)
    check = check_dependence(build(screen), build, screen)
    assert check.severity == "note" and "4 input arrays" in check.sentence


def test_a_leak_that_is_not_made_again_is_refused(planted, groups, build, position_c):
    """Built once from the labels and hidden from the check: the rebuilt inputs do not match."""
    leak = leaked_positions(planted.screen, groups, position_c)
    with pytest.raises(DataError, match="'locus_qd' of the network is not what comes out"):
        check_dependence(build(planted.screen) | {"locus_qd": leak}, build, planted.screen)
    given = build(planted.screen)
    given["mean_qg"] = given["mean_qg"] + np.nextafter(np.float32(0), np.float32(1))
    given["mean_qg"][0, 0] = np.nextafter(given["mean_qg"][0, 0], np.float32(9))
    with pytest.raises(DataError, match="'mean_qg'"):
        check_dependence(given, build, planted.screen)


@pytest.mark.parametrize(
    "leak",
    [
        # The code of a group, how often a gene is perturbed, a name, one bit of a gene's group.
        lambda s, groups: np.array([s.condition_n[rows[0]] for rows in groups]),
        lambda s, groups: s.targets_pc.sum(axis=0),
        lambda s, groups: np.array([s.conditions[s.condition_n[r[0]]] for r in groups]),
        lambda s, groups: s.targets_pc[[s.condition_n[r[0]] for r in groups], 0],
    ],
)
def test_any_other_trace_of_a_label_is_found(planted, groups, build, leak):
    def leaking(labels):
        return build(labels) | {"extra": leak(labels, groups)}

    assert set(changed_inputs(leaking(planted.screen), leaking, planted.screen)) == {"extra"}


def test_what_stays_and_what_moves(planted):
    screen = planted.screen
    names = {tuple(rows): None for rows in [screen.control_rows]}
    for other in relabelled(screen):
        assert other.candidates == screen.candidates
        np.testing.assert_array_equal(other.batch_n, screen.batch_n)
        np.testing.assert_array_equal(other.control_rows, screen.control_rows)
        assert tuple(other.control_rows) in names
        for code in range(len(screen.conditions)):
            cells = screen.rows_of(code)
            now = np.unique(other.condition_n[cells])
            assert len(now) == 1
            label = other.conditions[now[0]]
            genes = [screen.candidates[c] for c in np.flatnonzero(other.targets_pc[now[0]])]
            assert label == "+".join(sorted(genes)) == "+".join(other.genes_p[now[0]])
        moved = [
            other.conditions[other.condition_n[screen.rows_of(p)[0]]] != name
            for p, name in enumerate(screen.conditions)
        ]
        assert np.mean(moved) > 0.8


def test_one_perturbation_cannot_be_permuted(planted):
    screen = replace(
        planted.screen,
        conditions=planted.screen.conditions[:1],
        genes_p=planted.screen.genes_p[:1],
        targets_pc=planted.screen.targets_pc[:1],
    )
    with pytest.raises(DataError, match="with 1 perturbation"):
        check_dependence({}, lambda s: {}, screen)


def test_same_bits():
    zero = np.array([0.0, np.nan])
    assert same_bits(zero, zero.copy()) and not same_bits(zero, np.array([-0.0, np.nan]))
    assert not same_bits(zero, zero.astype(np.float32)) and not same_bits(zero, zero[:1])
    one = sp.csr_matrix(np.eye(3))
    assert same_bits(one, one.copy()) and not same_bits(one, 2 * one)
    assert not same_bits(one, np.eye(3)) and not same_bits(one, one[:2])
    assert same_bits(np.array(["a"], dtype=object), np.array(["a"], dtype=object))
