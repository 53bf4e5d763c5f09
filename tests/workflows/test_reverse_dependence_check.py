"""The dependence check of networks: honest ones pass, one that is told the answer is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError
from cellwright.perturbation.gene_knowledge import knowledge_of
from cellwright.perturbation.reverse import read_screen
from cellwright.training.reverse_settings import NetworkSettings
from cellwright.workflows.reverse_dependence_check import check_network
from cellwright.workflows.reverse_networks import network_cells

SETTINGS = NetworkSettings(kind="mlp", epochs=1, k=4)


@pytest.fixture(scope="module")
def cells():
    """Five genes alone and in four doubles, two batches."""
    rng = np.random.default_rng(0)
    names = ["control", "A", "B", "C", "D", "E", "A+B", "C+D", "A+E", "B+C"]
    labels = np.repeat(names, 12)
    obs = pd.DataFrame({"condition": labels, "batch": np.tile(["x", "y"], len(labels) // 2)})
    screen = read_screen(obs, batch="batch")
    return sp.csr_matrix(rng.poisson(2, (len(labels), 30)).astype(np.float32)), screen


def checked(cells, *, knowledge_from=lambda screen: None, spoil=lambda given: given):
    x, screen = cells
    train, val = ("A", "B", "C", "D", "A+B"), ("C+D",)
    given = spoil(network_cells(x, screen, train, val))
    return check_network(
        x, screen, train, val, given, SETTINGS, knowledge_from(screen),
        kept_of=lambda screen: None, knowledge_of=knowledge_from,
    )  # fmt: skip


def position(screen, values):
    c = len(screen.candidates)
    return knowledge_of("positions", ["locus"], np.zeros((30, 1)), values.reshape(c, 1))


def test_an_honest_network_passes(cells):
    check = checked(cells)
    assert check.severity == "note" and "did not change in one bit" in check.sentence
    # Positions that belong to genes and not to labels may be known.
    honest = checked(cells, knowledge_from=lambda s: position(s, np.arange(len(s.candidates)) / 10))
    assert int(honest.sentence.split()[2]) == int(check.sentence.split()[2]) + 3


def test_knowledge_made_from_labels_is_refused(cells):
    def leaking(screen):
        return position(screen, screen.targets_pc[: len(screen.conditions) // 2].sum(axis=0))

    with pytest.raises(DataError, match="'knowledge of candidates' changes in"):
        checked(cells, knowledge_from=leaking)


def test_expression_into_which_the_label_was_written_is_refused(cells):
    """The published leak: a column of each cell holds where its perturbed gene lies."""

    def leaking(given):
        locus_p = (given.targets_pc @ np.arange(given.candidates)) / given.targets_pc.sum(axis=1)
        x = given.expression_ng.toarray()
        code_n = given.condition_n
        x[code_n >= 0, 0] = locus_p[code_n[code_n >= 0]]
        return replace(given, expression_ng=sp.csr_matrix(x))

    with pytest.raises(DataError, match="is not what comes out when it is made again"):
        checked(cells, spoil=leaking)
