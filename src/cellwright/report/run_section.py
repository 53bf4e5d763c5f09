"""The part of the page about a pretraining: perplexity and what it is worth, curves, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cellwright.report.canvas import new_axes
from cellwright.report.checks import checks
from cellwright.report.collect import Part
from cellwright.report.curves import (
    REFERENCE_NAMES,
    learned,
    loss_curve,
    masked_accuracy_curve,
    perplexity_curve,
    places_curve,
    zero_nonzero_curve,
)
from cellwright.report.picture import Picture, picture
from cellwright.report.wording import (
    DASH,
    count,
    duration,
    finite,
    number,
    percent,
    signed,
    size,
)


def run_section(run: Part) -> dict[str, Any]:
    """Everything the template prints about a run."""
    metrics = run.metrics
    return {
        "name": run.name,
        "what": what(metrics),
        "sentences": [str(s) for s in metrics.get("sentences") or ()],
        "rule": rule_words(metrics.get("rule")),
        "checks": checks(metrics),
        "references": references(metrics),
        "scored_on": _scored_on(metrics),
        "facts": _facts(metrics),
        "pictures": _pictures(run),
        "examples": example_rows(run.extra.get("examples")),
        "missing": run.missing,
    }


def what(metrics: Mapping[str, Any]) -> str:
    """What the run predicts: ``bins`` or, from ranks, ``genes``."""
    return "genes" if metrics.get("task") == "masked-ranks" else "bins"


def rule_words(rule: Any) -> str:
    """Bin rule, mask rule and gene set in one line: a perplexity means nothing without them."""
    if not isinstance(rule, Mapping):
        return ""
    words = []
    for key, value in rule.items():
        if finite(value) is not None:
            words.append(f"{count(value)} {str(key).replace('_', ' ')}")
        elif isinstance(value, Mapping):
            words += [f"{name} {item}" for name, item in value.items()]
        else:
            words.append(str(value))
    return "; ".join(words)


def _scored_on(metrics: Mapping[str, Any]) -> str:
    """On which cells the numbers were taken."""
    part = metrics.get("scored_on")
    if not part:
        return ""
    cells = _mapping(metrics.get("cells")).get(part)
    return f"the {count(cells)} {part} cells" if finite(cells) else f"the {part} cells"


def references(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model and every reference, lowest perplexity first, with the difference to the model."""
    perplexity = metrics.get("perplexity")
    if not isinstance(perplexity, Mapping):
        return []
    model = finite(perplexity.get("model"))
    best = metrics.get("best_reference")
    scored = {
        str(row.get("rep")): row
        for row in metrics.get("scores") or ()
        if isinstance(row, Mapping) and row.get("metric") == "perplexity"
    }
    own = scored.get("model", {})
    rows = []
    for name, value in perplexity.items():
        known = finite(value)
        beside = own if name == own.get("baseline") else {}
        rows.append(
            {
                "name": _who(str(name), what(metrics)),
                "value": number(value, 2),
                "interval": _spread(scored.get(str(name), {})),
                "sort": known,
                "model": name == "model",
                "best": name == best,
                "difference": DASH
                if name == "model" or known is None or model is None
                else signed(model - known, 2),
                "difference_interval": _spread(beside, "difference"),
            }
        )
    return sorted(rows, key=lambda row: (row["sort"] is None, row["sort"] or 0.0))


def _who(name: str, of: str) -> str:
    if name == "model":
        return "the model"
    if name == "uniform" and of == "genes":
        return "uniform over the genes"
    return REFERENCE_NAMES.get(name, name)


def _spread(score: Mapping[str, Any], part: str | None = None) -> str:
    """The interval of a score or of its difference; nothing for that of a single unit."""
    over = score if part is None else score.get(part)
    if not isinstance(over, Mapping) or (finite(score.get("n")) or 0) < 2:
        return ""
    low, high = finite(over.get("low")), finite(over.get("high"))
    if low is None or high is None:
        return ""
    write = number if part is None else signed
    return f"[{write(low, 2)}, {write(high, 2)}]"


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    accuracy = _mapping(metrics.get("masked_accuracy"))
    gap = _mapping(metrics.get("gap"))
    falling = metrics.get("still_falling")
    facts = [
        (f"Masked {what(metrics)} named right", _told(metrics, accuracy)),
        ("Perplexity with the genes shown ruled out", number(metrics.get("free_perplexity"), 2)),
        ("Perplexity where <mask> is shown", number(metrics.get("hidden_perplexity"), 2)),
        ("Bits per masked gene", number(metrics.get("bits_per_gene"), 2)),
        ("Training and validation loss", _gap(gap)),
        (
            "At the last epoch",
            {True: "still falling: more epochs would help", False: "level"}.get(falling, DASH)
            if isinstance(falling, bool)
            else DASH,
        ),
        ("Epochs", _epochs(metrics)),
        ("Cells", _cells(metrics)),
        ("Parameters", count(metrics.get("parameters"))),
        ("Time", duration(metrics.get("seconds"))),
        ("Cells per second in training", count(metrics.get("cells_per_second"))),
        ("Peak memory", size(metrics.get("peak_memory_bytes"))),
    ]
    return [(name, value) for name, value in facts if value != DASH]


def _told(metrics: Mapping[str, Any], accuracy: Mapping[str, Any]) -> str:
    if finite(accuracy.get("model")) is None:
        return DASH
    beside = finite(accuracy.get("majority"))
    words = percent(accuracy.get("model"), 1)
    ranks = what(metrics) == "genes"
    simple = "the likeliest gene not shown" if ranks else "each gene's commonest bin"
    return words if beside is None else f"{words}; {simple} {percent(beside, 1)}"


def _gap(gap: Mapping[str, Any]) -> str:
    train, val = finite(gap.get("train")), finite(gap.get("val"))
    if train is None or val is None:
        return DASH
    return f"{train:.3f} and {val:.3f}: a gap of {signed(val - train)}"


def _cells(metrics: Mapping[str, Any]) -> str:
    cells = _mapping(metrics.get("cells"))
    return ", ".join(f"{count(n)} {part}" for part, n in cells.items()) or DASH


def _epochs(metrics: Mapping[str, Any]) -> str:
    if finite(metrics.get("epochs")) is None:
        return DASH
    best = finite(metrics.get("best_epoch"))
    kept = "" if best is None else f"; the weights kept are those of epoch {best:.0f}"
    return f"{count(metrics.get('epochs'))}{kept}"


def _pictures(run: Part) -> list[Picture]:
    history = run.tables.get("history")
    if history is None:
        return []
    metrics = run.metrics
    best = metrics.get("best_reference")
    if f"ref_{best}" not in history:
        best = None
    rule = rule_words(metrics.get("rule")) or None
    last = history.iloc[-1]
    epochs = count(len(history))
    of = learned(history)
    fourth = (
        picture(
            lambda: places_curve(history, ax=new_axes(3.6, 3.3)),
            f"Perplexity by what the model knows over {epochs} epochs: at the last epoch "
            f"{number(last.get('hidden_perplexity'), 2)} where <mask> is shown, "
            f"{number(last.get('free_perplexity'), 2)} with the genes shown ruled out.",
        )
        if of == "genes"
        else picture(
            lambda: zero_nonzero_curve(history, ax=new_axes(3.6, 3.3)),
            f"Masked accuracy of zero and nonzero genes over {epochs} epochs: at the last epoch "
            f"{percent(last.get('zero_accuracy'), 1)} and "
            f"{percent(last.get('nonzero_accuracy'), 1)}.",
        )
    )
    return [
        picture(
            lambda: perplexity_curve(history, best=best, rule=rule, ax=new_axes(10.6, 4.3)),
            f"Perplexity of masked {of} over {epochs} epochs beside the references that need no "
            f"network: at the last epoch {number(last.get('perplexity'), 2)}.",
        ),
        picture(
            lambda: loss_curve(history, ax=new_axes(3.6, 3.3)),
            f"Training and validation loss over {epochs} epochs: at the last epoch "
            f"{number(last.get('train_loss'))} and {number(last.get('val_loss'))}.",
        ),
        picture(
            lambda: masked_accuracy_curve(history, ax=new_axes(3.6, 3.3)),
            f"Share of masked {of} named right over {epochs} epochs: at the last epoch "
            f"{percent(last.get('masked_accuracy'), 1)}.",
        ),
        fourth,
    ]


def example_rows(examples: Any) -> dict[str, Any] | None:
    """Masked genes of one cell: the true bin beside the three most probable ones."""
    if not isinstance(examples, Mapping) or not isinstance(examples.get("rows"), Sequence):
        return None
    rows = []
    for row in examples["rows"]:
        if not isinstance(row, Mapping):
            continue
        top = [
            pair for pair in row.get("top") or () if isinstance(pair, Sequence) and len(pair) == 2
        ]
        ranks = "true_gene" in row
        true = row.get("true_gene") if ranks else row.get("true_bin")
        rank = next((i for i, pair in enumerate(top) if pair[0] == true), None)
        rows.append(
            {
                "symbol": f"rank {row.get('rank', DASH)}"
                if ranks
                else str(row.get("gene_symbol") or row.get("gene_id") or DASH),
                "id": str((row.get("shown") if ranks else row.get("gene_id")) or DASH),
                "true": DASH if true is None else str(true),
                "top": [
                    {"bin": str(name), "share": percent(share), "right": name == true}
                    for name, share in top
                ],
                "rank": {
                    None: "not among the three",
                    0: "the first guess",
                    1: "the second",
                    2: "the third",
                }[rank]
                if rank is None or rank < 3
                else "later",
            }
        )
    if not rows:
        return None
    ranks = any("true_gene" in row for row in examples["rows"] if isinstance(row, Mapping))
    return {
        "heads": ("Place", "Shown", "True gene") if ranks else ("Gene", "Id", "True bin"),
        "caption": "The true gene at each masked place and the three most probable genes"
        if ranks
        else "The true bin of each masked gene and the three most probable bins",
        "cell": str(examples.get("cell") or DASH),
        "rows": rows,
        "first": sum(row["rank"] == "the first guess" for row in rows),
        "within": sum(str(row["rank"]).startswith("the ") for row in rows),
        "n": len(rows),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
