"""Which gene was perturbed: methods in rows, sizes of query in columns, own genes visible or not."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, figure_of, new_grid, plain
from cellwright.report.palette import COLOURS, INK, MUTED

NAMES = {"mrr": "Mean reciprocal rank", "auprc": "Average precision", "ndcg": "nDCG"}
LOOKS: dict[str, dict[str, Any]] = {
    "visible": {"color": COLOURS[1], "marker": "D", "markersize": 5, "markerfacecolor": "white"},
    "hidden": {"color": COLOURS[0], "marker": "o", "markersize": 6},
}
F1 = {
    "micro_f1": "Micro, threshold\nfrom validation",
    "macro_f1": "Macro, threshold\nfrom validation",
    "micro_f1@0.5": "Micro, at 0.5",
    "macro_f1@0.5": "Macro, at 0.5",
}
WORDS = {"visible": "all genes visible", "hidden": "candidates' own genes hidden"}


def reverse_panels(table: pd.DataFrame, metric: str = "mrr", *, title: str) -> NDArray[Any]:
    """One metric of every method with its 95 % interval, one panel per size of query.

    Methods stand in the order of the last panel, the best first, by what they score without the
    candidates' own genes where that was asked. A method that cannot score some of the perturbed
    genes says for how many perturbations.

    Parameters
    ----------
    table
        Columns ``method``, ``genes``, ``k``, ``stratum``, ``metric``, ``value``, ``low``,
        ``high``, ``chance``, ``perturbations``, ``cannot_score``.

    Raises
    ------
    DataError
        If the table has no such metric.
    """
    rows = table[(table.metric == metric) & (table.stratum == "all")]
    if rows.empty:
        there = ", ".join(sorted(set(table.metric)))
        raise DataError(f"no score of {metric} to draw; there are {there or 'no scores'}")
    words = {str(k): _cells(str(k)) for k in rows.k}
    return _panels(rows.assign(panel=rows.k.astype(str)), words, _name(metric), title)


def reverse_f1(table: pd.DataFrame, *, k: str, title: str) -> NDArray[Any]:
    """Micro and macro F1 of queries of one size: above a threshold from validation, and above 0.5.

    Raises
    ------
    DataError
        If there is no such score: a split without validation perturbations has no threshold.
    """
    rows = table[(table.stratum == "all") & (table.k.astype(str) == k)]
    rows = rows[rows.metric.isin(F1)]
    if rows.empty:
        raise DataError(f"no F1 of queries of {_cells(k)} to draw")
    words = {metric: F1[metric] for metric in F1 if metric in set(rows.metric)}
    return _panels(rows.assign(panel=rows.metric), words, "F1", f"{title}, {_cells(k)}")


def reverse_strata(table: pd.DataFrame, metric: str = "mrr", *, k: str, title: str) -> NDArray[Any]:
    """One metric of queries of one size by how many of the perturbed genes were seen alone.

    Raises
    ------
    DataError
        If all perturbations are of one stratum.
    """
    rows = table[(table.metric == metric) & (table.k.astype(str) == k)]
    units = rows.groupby("stratum", sort=False)["perturbations"].first()
    if len(units) < 2:
        raise DataError(
            "all perturbations have as many genes seen alone: there is nothing to compare"
        )
    words = {str(s): f"{s} ({n})" for s, n in units.items()}
    rows = rows.assign(panel=rows.stratum)
    return _panels(rows, words, _name(metric), f"{title}, {_cells(k)}", ordered="all")


def _panels(
    rows: pd.DataFrame, words: dict[str, str], axis: str, title: str, ordered: str | None = None
) -> NDArray[Any]:
    """A panel for each value of ``panel``; methods by the one named ``ordered``, or by the last."""
    shown = [g for g in LOOKS if g in set(rows.genes)]
    deciding = [*words][-1] if ordered is None else ordered
    last = rows[(rows.panel == deciding) & (rows.genes == shown[-1])]
    last = last.sort_values("value", kind="stable")
    # A method that has no score there, such as one that is not told as a probability, stands last.
    rest = rows[~rows.method.isin(last.method)].drop_duplicates("method")
    last = pd.concat([rest, last])
    methods = last.method.tolist()
    axes = new_grid(
        1, len(words), 2.6 + 2.5 * len(words), 0.34 * len(methods) + 2.1, sharey=True, sharex=True
    )[0]
    offset = {g: 0.16 * (1 - 2 * i) if len(shown) > 1 else 0.0 for i, g in enumerate(shown)}
    for number, (ax, (panel, name)) in enumerate(zip(axes, words.items(), strict=True)):
        part = rows[rows.panel == panel]
        for row in part.to_dict("records"):
            y = methods.index(row["method"]) + offset[row["genes"]]
            look = LOOKS[row["genes"]]
            ax.plot([row["low"], row["high"]], [y, y], color=look["color"], linewidth=1.5)
            ax.plot(row["value"], y, linestyle="none", markeredgewidth=1.4, **look)
        chance = float(part.chance.mean())
        ax.axvline(chance, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=0)
        dress(ax, name, axis, "", grid="x")
        ax.set_xlim(0, 1)
        if number:
            ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(methods)), [_label(m, last) for m in methods])
    axes[0].set_ylim(-0.6, len(methods) - 0.4)
    figure = figure_of(axes[0])
    units = int(rows.perturbations.max())
    figure.suptitle(
        plain(title, 120), x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK
    )
    handles = [
        Line2D([], [], linewidth=1.5, markeredgewidth=1.4, label=WORDS[g], **LOOKS[g])
        for g in shown
    ]
    handles.append(
        Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), label="chance")
    )
    legend = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        title=f"Bars: 95 % interval over {units} perturbations",
        title_fontsize=8.5,
        alignment="left",
    )
    legend.get_title().set_color(MUTED)
    return axes


def _cells(k: str) -> str:
    return "all cells" if k == "all" else f"{k} cell{'s' * (k != '1')}"


def _name(metric: str) -> str:
    return NAMES.get(metric, metric)


def _label(method: str, rows: pd.DataFrame) -> str:
    row = rows[rows.method == method].iloc[0]
    if not row["cannot_score"]:
        return plain(method)
    return f"{plain(method)}\n(cannot score {row['cannot_score']} of {row['perturbations']})"
