"""Learning rates as a function of the step alone, so that a resumed run needs no schedule state."""

from __future__ import annotations

import math


def learning_rate(step: int, total: int, *, peak: float, warmup_share: float, kind: str) -> float:
    """The rate of step ``step`` (from 0) of ``total``.

    ``one-cycle``: from peak / 25 up to the peak along half a cosine over ``warmup_share`` of the
    steps, then down to peak / 250,000 along another (Smith and Topin 2017, arXiv:1708.07120; the
    shape of ``torch.optim.lr_scheduler.OneCycleLR``). ``constant``: the peak.
    """
    if kind == "constant":
        return peak
    top = warmup_share * total - 1
    last = total - 1
    start, end = peak / 25, peak / 25e4
    if step <= top:
        return _cosine(start, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, end, (step - top) / (last - top) if last > top else 1.0)


def _cosine(a: float, b: float, done: float) -> float:
    return b + (a - b) / 2 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
