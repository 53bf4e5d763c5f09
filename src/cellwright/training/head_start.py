"""Where the head of a classifier starts: at the linear probe that validation examples like best."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

from cellwright.models.heads import ClassHead
from cellwright.training.finetune_settings import FinetuneSettings

# Inverse strengths of the penalty that the starting head is chosen from, on validation cells.
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def start_head(
    head: ClassHead,
    x_md: Tensor,
    codes_m: NDArray[np.int64],
    val_md: Tensor | None,
    val_codes: NDArray[np.int64],
    settings: FinetuneSettings,
) -> None:
    """Standardise the head on the training vectors, and start it at the probe validated best."""
    head.standardise(x_md.to(head.centre_d.device))
    if settings.head_start == "zeros":
        return
    centre_d, spread_d = head.centre_d.cpu(), head.spread_d.cpu()
    scaled = ((x_md - centre_d) / spread_d).double().numpy()
    present = np.unique(codes_m)
    probes = []
    for strength in _STRENGTHS if val_md is not None else (0.1,):
        probe = LogisticRegression(C=strength, class_weight=settings.class_weight, max_iter=500)
        probes.append(probe.fit(scaled, codes_m))
    best = probes[0]
    known = np.isin(val_codes, present)
    if val_md is not None and known.any():
        val = ((val_md - centre_d) / spread_d).double().numpy()[known]
        losses = [log_loss(val_codes[known], p.predict_proba(val), labels=present) for p in probes]
        best = probes[int(np.argmin(losses))]
    weight_kd = torch.zeros_like(head.linear.weight.cpu())
    # A class without training examples: far below the others.
    bias_k = torch.full_like(head.linear.bias.cpu(), -10.0)
    coef, intercept = best.coef_, best.intercept_
    if len(present) == 2:  # one row in scikit-learn: half of it on each side
        coef, intercept = np.vstack([-coef, coef]) / 2, np.r_[-intercept, intercept] / 2
    weight_kd[present] = torch.from_numpy(coef).float()
    bias_k[present] = torch.from_numpy(intercept).float()
    head.start(weight_kd, bias_k)
