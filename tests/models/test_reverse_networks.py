"""Networks of the reverse problem: attention against tokens formed one by one, and where they start."""

import numpy as np
import pytest
import torch

from cellwright.models.reverse_attention import TokenAttention
from cellwright.models.reverse_candidates import TOKENS, ReverseCrossAttention
from cellwright.models.reverse_mlp import GroupInput
from cellwright.training.reverse_build import build_network
from cellwright.training.reverse_settings import NETWORKS, NetworkSettings


def test_affine_attention_is_attention_over_formed_tokens() -> None:
    torch.manual_seed(0)
    attention = TokenAttention(genes=7, heads=2, width=6)
    x_qg, question_cd = torch.randn(3, 7), torch.randn(4, 6)
    found = attention(x_qg, question_cd)
    keys = attention.to_key(attention.gene_gd).view(7, 2, 2, 3)
    values = attention.to_value(attention.gene_gd).view(7, 2, 2, 3)
    for q in range(3):
        key = keys[:, 0] + x_qg[q, :, None, None] * keys[:, 1]
        value = values[:, 0] + x_qg[q, :, None, None] * values[:, 1]
        heads = [
            torch.softmax(question_cd.view(4, 2, 3)[:, h] @ key[:, h].T / 3**0.5, dim=1)
            @ value[:, h]
            for h in range(2)
        ]
        torch.testing.assert_close(found[q], torch.cat(heads, dim=1))


@pytest.mark.parametrize("inputs", ["shift", "expression", "both"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_scores_every_gene(kind: str, inputs: str) -> None:
    settings = NetworkSettings(kind=kind, inputs=inputs, hidden=(8,), width=8, heads=2, members=2)
    network = build_network(settings, genes=20, candidates=5, features=3, pairs=2).eval()
    shift, mean = torch.randn(4, 20), torch.rand(4, 20)
    logits = network.logits(shift, mean)
    assert logits.shape == (4, 5)
    assert torch.isfinite(logits).all()
    # One query at a time is the same as all together: no query sees another.
    torch.testing.assert_close(
        network.logits(shift[2:3], mean[2:3]), logits[2:3], atol=1e-4, rtol=1e-4
    )
    again = build_network(settings, genes=20, candidates=5, features=3, pairs=2).eval()
    torch.testing.assert_close(again.logits(shift, mean), logits)


def test_members_start_apart() -> None:
    first, second = build_network(
        NetworkSettings(hidden=(8,), members=2), genes=20, candidates=5
    ).members
    assert not torch.equal(first.trunk.hidden[0].weight, second.trunk.hidden[0].weight)


def test_inputs_are_in_units_of_the_noise_of_groups() -> None:
    scale = GroupInput(3)
    sd = torch.tensor([3.0, 4.0, 0.0])
    scale.standardise(sd, torch.zeros(3), k=25)
    found = scale(torch.ones(1, 3), torch.zeros(1, 3))
    assert found[0].tolist() == pytest.approx([5 / np.sqrt(25 / 3)] * 3)


def test_tokens_are_the_genes_that_vary_most() -> None:
    network = ReverseCrossAttention(TOKENS + 50, 4, (), 8, 0.0, 2)
    sd = torch.rand(TOKENS + 50)
    network.choose(sd)
    expected = np.sort(np.argsort(-sd.numpy())[:TOKENS])
    np.testing.assert_array_equal(network.token_t.numpy(), expected)
