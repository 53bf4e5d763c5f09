"""Curves and loadings of a linear VAE show the numbers they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.canvas import save_figure
from cellwright.report.ldvae_figures import elbo_curves, loadings_figure


def history(epochs: int = 30, library: float = 0.0) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    falling = 100 + 50 / epoch
    return pd.DataFrame(
        {
            "epoch": epoch,
            "train_elbo_loss": falling,
            "val_loss": falling + 5,
            "train_reconstruction": falling - 10,
            "val_reconstruction": falling - 6,
            "train_kl_latent": 10 - 1 / epoch,
            "val_kl_latent": 11 - 1 / epoch,
            "train_kl_library": library,
            "val_kl_library": library,
            "kl_weight": np.minimum(1, (epoch - 1) / 10),
        }
    )


@pytest.mark.parametrize(("library", "panels"), [(0.0, 3), (2.0, 4)])
def test_curves_are_the_history(library: float, panels: int, tmp_path) -> None:
    given = history(library=library)
    axes = elbo_curves(given, best_epoch=17)
    assert axes.size == panels
    train, val = axes.flat[0].lines[:2]
    np.testing.assert_array_equal(train.get_ydata(), given["train_elbo_loss"])
    np.testing.assert_array_equal(val.get_ydata(), given["val_loss"])
    assert axes.flat[0].lines[2].get_xdata()[0] == 17
    assert save_figure(axes, tmp_path / "curves.png").stat().st_size > 5_000


def test_a_wild_start_runs_out_of_the_frame_and_the_rest_can_be_read() -> None:
    given = history()
    given.loc[0, "train_kl_latent"] = 4_000.0
    low, high = elbo_curves(given).flat[2].get_ylim()
    assert low < 9.5 < 11 < high < 100


def test_a_history_of_something_else_is_refused() -> None:
    with pytest.raises(DataError, match="'val_kl_latent'"):
        elbo_curves(history().drop(columns="val_kl_latent"))


def test_bars_are_the_loadings_and_the_strongest_axes_come_first(tmp_path) -> None:
    rows = [
        (axis, end, rank, f"{axis}{end}{rank}", sign * (4 - rank) / 4)
        for axis in ("Z_0", "Z_1", "Z_2")
        for end, sign in (("+", 1), ("-", -1))
        for rank in (1, 2, 3)
    ]
    top = pd.DataFrame(rows, columns=["axis", "end", "rank", "gene_symbol", "loading"])
    spread = pd.Series({"Z_0": 0.1, "Z_1": 2.0, "Z_2": 1.0})
    axes = loadings_figure(top, most_axes=2, genes=2, strength=spread)
    assert [ax.get_title(loc="left") for ax in axes.flat] == ["Z_1", "Z_2"]
    widths = [bar.get_width() for bar in axes[0, 0].patches]
    assert widths == [-0.75, -0.5, 0.5, 0.75]
    names = [label.get_text() for label in axes[0, 0].get_yticklabels()]
    assert names == ["Z_1-1", "Z_1-2", "Z_1+2", "Z_1+1"]
    assert save_figure(axes, tmp_path / "loadings.png").stat().st_size > 5_000
