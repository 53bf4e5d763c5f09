"""The dependence check of networks: honest ones pass, ones that are told the answer are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError
from cellwright.evaluation.target_ranking import rank_metrics
from cellwright.perturbation.gene_knowledge import knowledge_of
from cellwright.perturbation.gene_positions import gene_positions
from cellwright.perturbation.queries import draw_queries
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.reverse_dependence import check_dependence
from cellwright.training.reverse_settings import NETWORKS, NetworkSettings
from cellwright.workflows.reverse_dependence_check import check_network, network_inputs
from cellwright.workflows.reverse_networks import fit_network, network_cells

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


def checked(
    cells, *, knowledge_from=lambda screen: None, spoil=lambda given: given, settings=SETTINGS
):
    x, screen = cells
    train, val = ("A", "B", "C", "D", "A+B"), ("C+D",)
    given = spoil(network_cells(x, screen, train, val))
    return check_network(
        x, screen, train, val, given, settings, knowledge_from(screen),
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


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_of_network_is_blind_to_labels_before_it_learns(cells, kind):
    settings = replace(SETTINGS, kind=kind)
    check = checked(
        cells,
        knowledge_from=lambda s: position(s, np.arange(len(s.candidates)) / 10),
        settings=settings,
    )
    assert "did not change in one bit" in check.sentence


def test_knowledge_made_from_labels_is_refused(cells):
    def leaking(screen):
        return position(screen, screen.targets_pc[: len(screen.conditions) // 2].sum(axis=0))

    with pytest.raises(DataError, match="'knowledge of candidates' changes in"):
        checked(cells, knowledge_from=leaking)


def told(x, screen, where):
    """The cells with chromosomes and relative positions of the genes that their label names."""
    # On the scale of the counts, so that it is heard among the genes.
    place_p = 5 * screen.targets_pc @ where.features_gd
    code_n = screen.condition_n
    place_nd = np.where(code_n[:, None] >= 0, place_p[code_n], 0)
    return sp.csr_matrix(np.hstack([x.toarray(), place_nd]).astype(np.float32))


def test_the_published_network_is_refused(cells, tmp_path):
    """Told where the perturbed gene lies, a network names it on cells that hold nothing at all."""
    x, screen = cells
    genes = tmp_path / "genes.tsv"
    rows = [f"{g}\t{i + 1}\t{10_000_000 * (i + 1)}\t{10_000_000 * (i + 1)}"
            for i, g in enumerate(screen.candidates)]  # fmt: skip
    genes.write_text("symbol\tchr\tstart\tend\n" + "\n".join(rows) + "\n")
    where = gene_positions(screen.candidates, genes)
    train, test = screen.singles, screen.doubles
    settings = replace(
        SETTINGS, hidden=(), dropout=0.0, epochs=8, batch_size=16, learning_rate=5e-3
    )
    score = {}
    for name, seen in (("honest", x), ("told", told(x, screen, where))):
        given = network_cells(seen, screen, train)
        network = fit_network(given, settings)
        asked = draw_queries(seen, screen, test, k=4)
        found = rank_metrics(
            network.logits(asked.shift_qg, asked.mean_qg), screen.targets_pc[asked.condition_q]
        )
        score[name] = found["exact_set@1"].mean()
    assert score["told"] > 0.8 and score["honest"] < 0.4

    def build(other):
        again = network_cells(told(x, other, where), other, other.conditions)
        return network_inputs(again, settings, None)

    with pytest.raises(DataError, match=r"refused: .*'expression' changes in \d+ of 6 perm"):
        check_dependence(build(screen), build, screen)


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
