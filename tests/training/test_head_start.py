"""The head of a classifier before the first step: scikit-learn's probe, or nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cellwright.models.heads import ClassHead
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.training.head_start import start_head


def blobs(classes: int) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    codes_m = np.arange(60) % classes
    x_md = rng.normal(size=(60, 5)) + rng.normal(size=(classes, 5))[codes_m]
    return torch.from_numpy(x_md).float(), codes_m


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_starts_at_the_logistic_regression(classes):
    x_md, codes_m = blobs(classes)
    head = ClassHead(5, classes).eval()
    start_head(head, x_md, codes_m, None, codes_m, FinetuneSettings())
    scaled = StandardScaler().fit_transform(x_md.double().numpy())
    probe = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500).fit(scaled, codes_m)
    found = head(x_md).softmax(-1).detach().numpy()
    np.testing.assert_allclose(found, probe.predict_proba(scaled), atol=2e-4)


def test_a_class_without_examples_is_least_likely_and_zeros_are_even():
    x_md, codes_m = blobs(2)
    head = ClassHead(5, 3).eval()
    start_head(head, x_md, codes_m, x_md, codes_m, FinetuneSettings())
    assert (head(x_md).softmax(-1)[:, 2] < 1e-3).all()
    head = ClassHead(5, 3).eval()
    start_head(head, x_md, codes_m, None, codes_m, FinetuneSettings(head_start="zeros"))
    torch.testing.assert_close(head(x_md), torch.zeros(60, 3))
