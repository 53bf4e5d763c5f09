"""What every tokenizer of the catalog keeps to."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.catalog import TOKENIZERS
from cellwright.interfaces import RowBlock, TokenBatch, Tokenizer


def fitted(name: str, counts: np.ndarray) -> Tokenizer:
    rows = np.arange(len(counts))
    blocks = [
        RowBlock(sp.csr_matrix(counts[i : i + 40]), rows[i : i + 40].astype(str), rows[i : i + 40])
        for i in range(0, len(counts), 40)
    ]
    return TOKENIZERS[name]().fit(iter(blocks))


def tokens(batch: TokenBatch) -> list[list[tuple[int, int]]]:
    """Per cell its (gene, value) pairs, padding left out."""
    return [
        list(zip(genes[~pad].tolist(), values[~pad].tolist(), strict=True))
        for genes, values, pad in zip(
            batch.gene_ids_nt, batch.value_ids_nt, batch.pad_nt, strict=True
        )
    ]


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    rng = np.random.default_rng(4)
    found = rng.poisson(rng.gamma(0.5, 3.0, 60) * rng.gamma(4.0, 0.3, (160, 1)))
    found[3] = 0
    return found


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_contract(name: str, counts: np.ndarray) -> None:
    train, test = counts[:120], counts[120:]
    tokenizer = fitted(name, train)
    assert isinstance(tokenizer, Tokenizer)
    assert TOKENIZERS[name].name == name
    expected = tokens(tokenizer.encode(sp.csr_matrix(test)))
    # Plain arrays bring it back.
    state = tokenizer.state()
    assert all(array.dtype.kind != "O" for array in state.values())
    assert tokens(TOKENIZERS[name].from_state(state).encode(sp.csr_matrix(test))) == expected
    # Neither the order of the training cells, nor the other cells of a batch, nor storage matter.
    turned = fitted(name, train[::-1])
    assert tokens(turned.encode(sp.csr_matrix(test))) == expected
    assert tokens(tokenizer.encode(sp.csr_matrix(test[::-1])))[::-1] == expected
    assert tokens(tokenizer.encode(test.astype(np.float64))) == expected
    assert [
        tokens(tokenizer.encode(sp.csr_matrix(cell)))[0] for cell in test[:5, None]
    ] == expected[:5]
    # The input stays as it is.
    given = sp.csr_matrix(test.astype(np.float32))
    before = given.copy()
    tokenizer.encode(given)
    assert (given != before).nnz == 0
