"""Gene knowledge: the same columns for measured and candidate genes, none of which knows a label."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from cellwright.data.genes import gene_names
from cellwright.errors import DataError
from cellwright.perturbation.gene_knowledge import (
    GeneKnowledge,
    joined_knowledge,
    knowledge_of,
    pair_features,
)
from cellwright.perturbation.gene_knowledge_sources import (
    COMPONENTS,
    FARTHEST,
    edge_knowledge,
    known_as,
    number_knowledge,
    position_knowledge,
    set_knowledge,
)
from cellwright.perturbation.gene_positions import gene_positions


@pytest.fixture
def names():
    """Measured by id and symbol; candidates by symbol, B by the id of a measured gene."""
    var = pd.DataFrame(
        {"gene_symbol": ["A", "B", "C"]},
        index=[f"ENSG0000000000{i}" for i in (1, 2, 3)],
    )
    return known_as(gene_names(var), ["A", "ENSG00000000002", "Z"])


def test_positions_are_shares_and_pairs_are_symmetric(tmp_path):
    table = tmp_path / "genes.tsv"
    table.write_text(
        "symbol\tchr\tstart\tend\nA\t1\t1000000\t1000000\nB\t1\t3000000\t3000000\n"
        "C\tX\t500\t700\nM\tMT\t5\t9\n"
    )
    measured = gene_positions(["A", "C", "M", "absent"], table)
    candidate = gene_positions(["A", "B", "C", "M"], table)
    found = position_knowledge(measured, candidate)
    known = found.names_d.index("positions known")
    assert found.measured_gd[:, known].tolist() == [1, 1, 0, 0]
    assert ((found.measured_gd >= 0) & (found.measured_gd <= 1)).all()
    assert not found.measured_gd[2:].any() and found.measured_gd[:2, :24].sum() == 2
    # A gene has the same columns whether it is measured or a candidate.
    np.testing.assert_array_equal(found.measured_gd[0], found.candidate_cd[0])
    np.testing.assert_array_equal(found.measured_gd[1], found.candidate_cd[2])
    titles, pair = pair_features(found)
    near = pair[:, :, titles.index("positions closeness")]
    assert near[0, 1] == pytest.approx(1 / 3) and near[0, 2] == 0 and near[3].sum() == 0
    np.testing.assert_array_equal(pair, pair.transpose(1, 0, 2))
    waves = position_knowledge(measured, candidate, fourier=True)
    wave = waves.names_d.index("fourier sine 4 Mb")
    # One megabase is a quarter of a wave of four, three are three quarters.
    assert waves.candidate_cd[:2, wave] == pytest.approx([1, -1], abs=1e-6)
    assert not waves.candidate_cd[3].any()


def test_membership_is_a_bit_for_each_set(names):
    sets = {
        "one": ("A", "B", "Q"),
        "two": ("B", "C", "Q"),
        "small": ("A", "C"),
        "x": tuple("RSTUVW"),
    }
    found = set_knowledge("gmt", sets, names)
    assert found.names_d == ("gmt one", "gmt two", "gmt known")
    assert found.measured_gd.tolist() == [[1, 0, 1], [1, 1, 1], [0, 1, 1]]
    assert found.candidate_cd.tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]]
    titles, pair = pair_features(found)
    assert pair[0, 1, titles.index("gmt shared sets")] == pytest.approx(1 / 2)


def test_many_sets_become_components_that_do_not_know_the_panel():
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(200)]
    sets = {f"s{i}": tuple(rng.choice(genes, 12, replace=False)) for i in range(90)}
    panels = []
    for measured in (genes[:50], genes[:7]):
        var = pd.DataFrame(index=measured)
        panels.append(set_knowledge("gmt", sets, known_as(gene_names(var), genes[100:110])))
    assert len([n for n in panels[0].names_d if "component" in n]) == COMPONENTS
    np.testing.assert_array_equal(panels[0].candidate_cd, panels[1].candidate_cd)
    assert np.abs(panels[0].measured_gd).max() <= FARTHEST


def test_edges_have_a_direction_and_a_sign(names):
    edges = [("A", "B", -1.0), ("A", "C", 1.0), ("B", "D", 1.0), ("D", "E", 1.0)]
    found = edge_knowledge("tf", edges, names)
    at = {n: i for i, n in enumerate(found.names_d)}
    assert found.candidate_cd[:, at["tf log targets"]] == pytest.approx(np.log1p([2, 1, 0]))
    assert found.measured_gd[:, at["tf log regulators"]] == pytest.approx(np.log1p([0, 1, 1]))
    assert found.candidate_cd[2].tolist() == [0] * len(at)
    titles, pair = pair_features(found)
    effect = pair[:, :, titles.index("tf effect")]
    assert effect.tolist() == [[0, -1, 0], [0, 0, 0], [0, 0, 0]]
    assert pair[1, 0, titles.index("tf edge")] == 1


def test_numbers_are_standardised_and_a_missing_one_is_the_mean(names):
    value = np.array([[1.0, 7.0], [3.0, 7.0], [np.nan, 7.0], [5.0, 7.0]])
    genes = [("A",), ("ENSG00000000002", "B"), ("C",), ("D",)]
    found = number_knowledge("table", ["length", "same"], genes, value, names)
    assert found.names_d == ("table length", "table known")
    spread = np.std([1, 3, 5])
    assert found.measured_gd[:, 0] == pytest.approx(np.array([-2, 0, 0]) / spread)
    assert found.candidate_cd.tolist()[2] == [0, 0]
    with pytest.raises(DataError, match="varies"):
        number_knowledge("table", ["same"], genes, value[:, 1:], names)
    with pytest.raises(DataError, match=r"ENSG.* known to 'table' \(Q"):
        number_knowledge(
            "table", ["x"], [("Q",), ("R",)], np.array([[1.0], [2.0]]),
            known_as(gene_names(pd.DataFrame(index=["ENSG00000000009"])), ["ENSG00000000009"]),
        )  # fmt: skip


def test_joined_and_taken_apart():
    one = knowledge_of("a", ["x"], np.ones((3, 1)), np.ones((2, 1)))
    other = knowledge_of(
        "b", ["y", "z"], np.zeros((3, 2)), np.full((2, 2), 2.0), pairs=[("p", np.eye(2))]
    )
    both = joined_knowledge([one, other])
    assert both.sources == ("a", "b") and both.names_d == ("a x", "b y", "b z")
    only = both.of(["b"])
    np.testing.assert_array_equal(only.candidate_cd, other.candidate_cd)
    assert only.pair_names_p == ("b p",) and both.of(["a"]).pair_ccp.shape == (2, 2, 0)
    assert both.of([]).measured_gd.shape == (3, 0)
    assert both.only(np.array([True, False, True])).measured_gd.shape == (2, 3)
    with pytest.raises(DataError, match="'a' is given twice"):
        joined_knowledge([one, one])
    with pytest.raises(DataError, match=r"2 measured and 2 .* of 3"):
        joined_knowledge([one, both.only(np.array([True, False, True])).of(["b"])])
    with pytest.raises(DataError, match="no number"):
        GeneKnowledge(("x",), np.array([[np.nan]], np.float32), np.ones((1, 1), np.float32))
    with pytest.raises(DataError, match=r"1 names .* 2 columns of candidates"):
        GeneKnowledge(("x",), np.ones((1, 1), np.float32), np.ones((1, 2), np.float32))


def test_every_gene_of_the_human_genome_has_positions_between_0_and_1(real_data):
    path = real_data / "gene_coords" / "grch38_genes_ensembl_annotables.tsv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    everyone = gene_positions([line.split("\t")[0] for line in lines], path)
    found = position_knowledge(everyone, gene_positions(["TP53", "MT-ND1", "KLF1"], path))
    assert found.measured_gd.min() == 0 and found.measured_gd.max() == 1
    assert not found.candidate_cd[1].any()
