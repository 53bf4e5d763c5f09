"""What frozen layers cost in training: peak memory of activations and seconds of the backward pass.

An encoder of ranks with its lowest layers frozen stands beside one that holds only the layers
that are trained and is handed what the frozen ones would give it. Memory is counted, not sampled:
every tensor that an operation makes, from the moment it is made until it is freed, forward and
backward; gradients of weights are left out, being the same in both.

Run: python benchmarks/frozen_layers.py [--layers 6 --frozen 4 --width 256 --cells 8 --tokens 512]
"""

from __future__ import annotations

import argparse
import json
import time
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from cellwright.models.freezing import freeze_layers
from cellwright.models.rank_encoder import RankShape, random_rank_encoder


class Counted(TorchDispatchMode):
    """Bytes alive among the tensors made inside, now and at most."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._held = {x.untyped_storage().data_ptr() for x in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_flatten(out)[0]:
            if not isinstance(x, Tensor):
                continue
            storage = x.untyped_storage()
            where, size = storage.data_ptr(), storage.nbytes()
            if where and where not in self._held:
                self._held.add(where)
                self.now += size
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._gone, where, size)
        return out

    def _gone(self, where: int, size: int) -> None:
        if where in self._held:
            self._held.discard(where)
            self.now -= size


def measure(run: Any, model: nn.Module, inputs: list[Tensor], repeats: int) -> dict[str, float]:
    """Peak bytes of one forward and backward pass, and the shortest seconds of each."""
    forward_s, backward_s = [], []
    for _ in range(repeats):
        model.zero_grad(set_to_none=True)
        start = time.perf_counter()
        loss = run().square().mean()
        middle = time.perf_counter()
        loss.backward()
        forward_s.append(middle - start)
        backward_s.append(time.perf_counter() - middle)
    # Gradients stand already, so that what is counted is activations alone.
    with Counted(
        [*model.parameters(), *inputs, *(p.grad for p in model.parameters() if p.grad is not None)]
    ) as counted:
        run().square().mean().backward()
    return {
        "peak_bytes": counted.most,
        "forward_seconds": min(forward_s),
        "backward_seconds": min(backward_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("layers", 6),
        ("frozen", 4),
        ("width", 256),
        ("cells", 8),
        ("tokens", 512),
        ("repeats", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    shape = RankShape(
        tokens=25_426,
        width=given.width,
        layers=given.layers,
        heads=4,
        feedforward=2 * given.width,
        positions=2048,
        attention_dropout=0.0,
    )
    ids_t = torch.randint(4, shape.tokens, (given.cells * given.tokens,))
    lengths = [given.tokens] * given.cells
    frozen = random_rank_encoder(shape, 0, head=False).train()
    freeze_layers(frozen, given.frozen)
    free = random_rank_encoder(shape, 0, head=False).train()
    with torch.no_grad():
        (handed_td,) = frozen(ids_t, lengths, hidden_layers=(given.frozen,))
    trained = nn.ModuleList(
        random_rank_encoder(shape, 0, head=False).layers[given.frozen :]
    ).train()

    def only_trained() -> Tensor:
        x_td = handed_td
        for layer in trained:
            x_td = layer(x_td, lengths)
        return x_td

    found = {
        "only the trained layers": measure(only_trained, trained, [handed_td], given.repeats),
        "lower layers frozen": measure(
            lambda: frozen(ids_t, lengths)[0], frozen, [ids_t], given.repeats
        ),
        "nothing frozen": measure(lambda: free(ids_t, lengths)[0], free, [ids_t], given.repeats),
    }
    base = found["only the trained layers"]
    for row in found.values():
        row["memory_ratio"] = row["peak_bytes"] / base["peak_bytes"]
        row["backward_ratio"] = row["backward_seconds"] / base["backward_seconds"]
    print(json.dumps({"settings": vars(given), **found}, indent=1))


if __name__ == "__main__":
    main()
