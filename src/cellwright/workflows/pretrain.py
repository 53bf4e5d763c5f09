"""Pretraining from a file to a finished run folder: split, tokens, references, training, verdict."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from cellwright.config import nearest, read_toml, resolve, to_dict
from cellwright.data.hashes import cell_hashes, fingerprint
from cellwright.data.reading import counts_of, read_cells
from cellwright.data.split import Split, split
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import RowBlock
from cellwright.models.build import build_encoder
from cellwright.report.canvas import save_figure
from cellwright.report.curves import (
    loss_curve,
    masked_accuracy_curve,
    perplexity_curve,
    training_curves,
    zero_nonzero_curve,
)
from cellwright.report.notebook import run_html
from cellwright.representations.encoder import KINDS, settings_of
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.cell_binned import CellBinnedTokenizer
from cellwright.tokens.masking import MaskRule, cell_keys
from cellwright.tokens.vocabulary import Vocabulary
from cellwright.training.batches import VALIDATION_EPOCH, BinnedCells, validation_batches
from cellwright.training.fitted_cells import FittedCells
from cellwright.training.hardware import check_accelerator, fabric_precision, peak_memory_bytes
from cellwright.training.loop import Fitted, Progress, Row, fit
from cellwright.training.masked_bins import MaskedMeasures, example, measure
from cellwright.training.references import References, references
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PRESETS, PretrainSettings
from cellwright.workflows.pretrain_verdict import perplexity_scores, sentences, still_falling
from cellwright.workflows.provenance import provenance

log = logging.getLogger(__name__)

SCHEMA = "cellwright.pretrain/1"


@dataclass(frozen=True)
class Pretrained:
    """A finished run: its folder, ``metrics.json`` and ``history.csv``; ``sentences`` say it in words."""

    folder: Path
    metrics: dict[str, Any]
    history: pd.DataFrame
    first_process: bool = True

    def text(self) -> str:
        """The findings and the references as lines for a terminal."""
        lines = [*self.sentences, "", f"perplexity on {self.metrics['scored_on']} cells:"]
        for name, value in self.metrics["perplexity"].items():
            mark = "  <- best without a network" if name == self.metrics["best_reference"] else ""
            lines.append(f"  {name:15s} {value:8.3f}{mark}")
        rule = self.metrics["rule"]
        lines.append(f"rules: {rule['bins']}; {rule['mask']}; {rule['genes']} genes")
        lines += ["", *_examples(self.folder), "", f"run folder: {self.folder}"]
        return "\n".join(lines)

    @property
    def sentences(self) -> list[str]:
        return list(self.metrics["sentences"])

    def _repr_html_(self) -> str:
        return run_html(self.metrics, self.history)


@dataclass(frozen=True)
class _Tokenized:
    """The cells of a run in tokens, with what was fitted on its training cells."""

    vocabulary: Vocabulary
    tokenizer: BinnedTokenizer | CellBinnedTokenizer
    parts: dict[str, BinnedCells]
    rows: dict[str, NDArray[np.int64]]
    names: NDArray[np.str_]
    units_n: NDArray[np.str_]
    fitted: FittedCells
    data: dict[str, Any]


def pretrain(
    cells: AnnData | Path | str,
    out: Path | str,
    *,
    preset: str | None = None,
    config: Path | str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    force: bool = False,
    resume: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
    **flags: Any,
) -> Pretrained:
    """Pretrain an encoder on cells by predicting masked bins, and judge it against no network.

    Parameters
    ----------
    cells
        AnnData or a path with raw counts. Without ``obs["split"]`` the cells are split here
        (``split_by``, ``stratify``, ``val``, ``test``); bins and references are fitted on
        training cells only, ``val`` chooses the best epoch, ``test`` is scored once at the end.
    out
        The run folder. ``force`` replaces a run, ``resume`` continues one that was stopped.
    preset, config, flags
        Settings (``training.settings.PretrainSettings``): a flag beats the TOML file, the file
        beats the preset, the preset beats the default.

    Raises
    ------
    DataError, SettingsError, RunError, Interrupted
        One sentence each: no counts, a setting that cannot work, a folder that holds something,
        a signal (the checkpoint is saved).
    """
    folder = RunFolder(out)
    settings = _settings(folder, preset, config, flags, resume)
    check_accelerator(settings.accelerator)
    if resume and folder.is_finished():
        log.info("%s is finished; nothing to continue", folder.path)
        return read_finished(folder.path)
    subject = read_cells(cells)
    counts = counts_of(subject, layer=layer, assume_counts=assume_counts)
    fabric = _fabric(settings)
    with warnings.catch_warnings():
        # Raised inside PyTorch by Fabric's own all_gather on CPU processes; nothing to act on.
        warnings.filterwarnings("ignore", message=".*all_gather.*", category=FutureWarning)
        fabric.launch()
        if not fabric.is_global_zero:
            return _train(fabric, folder, settings, subject, counts, resume, on_epoch, on_step)
        folder.prepare(force=force, resume=resume)
        with folder.locked():
            return _train(fabric, folder, settings, subject, counts, resume, on_epoch, on_step)


def _examples(path: Path, most: int = 8) -> list[str]:
    """The first masked genes of the example cell: true bin, then the three likeliest."""
    found = RunFolder(path).read_json("examples.json")
    lines = [f"masked genes of one {found['part']} cell, {found['cell']}: true bin | top 3"]
    for row in found["rows"][:most]:
        top = ", ".join(f"{k} ({p:.0%})" for k, p in row["top"])
        lines.append(f"  {row['gene_symbol']:15s} {row['true_bin']:3d} | {top}")
    return lines


def read_finished(path: Path | str) -> Pretrained:
    """The result of a finished run, from its folder.

    Raises
    ------
    RunError
        If the folder is not a finished pretraining run.
    """
    folder = RunFolder(path)
    metrics = folder.read_json("metrics.json")
    if metrics.get("schema") != SCHEMA:
        raise RunError(f"{folder.path} is not a pretraining run: schema {metrics.get('schema')!r}")
    return Pretrained(folder.path, metrics, pd.read_csv(folder.path / "history.csv"))


def _settings(
    folder: RunFolder,
    preset: str | None,
    config: Path | str | None,
    flags: Mapping[str, Any],
    resume: bool,
) -> PretrainSettings:
    if preset is not None and preset not in PRESETS:
        close = nearest(preset, PRESETS)
        hint = f"did you mean {close!r}?" if close else f"known: {', '.join(PRESETS)}"
        raise SettingsError(f"no preset {preset!r}: {hint}")
    layers = [PRESETS[preset] if preset else None, read_toml(Path(config)) if config else None]
    if not resume:
        return resolve(PretrainSettings, *layers, flags)
    kept = settings_of(folder)
    given = resolve(PretrainSettings, to_dict(kept), *layers, flags)
    if given != kept:
        ours, theirs = to_dict(kept), to_dict(given)
        changed = next(k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k))
        raise SettingsError(
            f"--resume continues with the run's own settings, but {changed} is "
            f"{theirs.get(changed)!r} here and {ours.get(changed)!r} in {folder.path}/config.toml"
        )
    return kept


def _fabric(settings: PretrainSettings) -> Fabric:
    accelerator = settings.accelerator
    on = accelerator
    if accelerator == "auto":
        on = "cuda" if torch.cuda.is_available() else "cpu"
        if torch.backends.mps.is_available():
            on = "mps"
    many = settings.devices * settings.num_nodes > 1
    precision: Any = fabric_precision(settings.precision, on)
    return Fabric(
        accelerator=on,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy="ddp" if many else "auto",
        precision=precision,
    )


def _train(
    fabric: Fabric,
    folder: RunFolder,
    settings: PretrainSettings,
    subject: AnnData,
    counts: Any,
    resume: bool,
    on_epoch: Callable[[Row], None] | None,
    on_step: Callable[[Progress, int], None] | None,
) -> Pretrained:
    first = fabric.is_global_zero
    chosen = _split(subject, settings)
    tokens = _tokenize(subject, counts, chosen, settings)
    if resume:
        _same_data(folder, tokens.data)
    if first:
        folder.write_config(to_dict(settings))
        tokens.vocabulary.save(folder.path / "vocabulary.tsv")
        folder.write_tokenizer(settings.tokenizer, tokens.tokenizer.state())
        chosen.save(folder.path / "split.toml")
        tokens.fitted.save(folder.path / "cells.txt.gz")
        folder.write_json("provenance.json", provenance(settings.seed, tokens.data))
    fabric.barrier()

    rule = settings.mask_rule
    val_references = _references(tokens, "val", rule, settings)
    model = build_encoder(
        settings.encoder,
        torch.from_numpy(val_references.log_bin_frequencies_gk),
        settings.seed,
    )
    writer = SummaryWriter(str(folder.path / "tensorboard")) if first else None

    def epoch_done(row: Row) -> None:
        if writer is not None:
            for key, value in row.items():
                if key not in ("epoch", "seconds"):
                    writer.add_scalar(key, value, int(row["epoch"]))
            writer.flush()
        if on_epoch is not None:
            on_epoch(row)

    try:
        fitted = fit(
            model,
            tokens.parts["train"],
            tokens.parts["val"],
            settings,
            fabric,
            folder,
            references=_reference_columns(val_references),
            resume=resume,
            on_epoch=epoch_done,
            on_step=on_step,
        )
    finally:
        if writer is not None:
            writer.close()
    model = model.cpu()
    model.load_state_dict(fitted.best)
    result = _judge(model, tokens, chosen, settings, fitted, val_references)
    if first:
        _write(folder, model, tokens, settings, fitted, result)
    fabric.barrier()
    return Pretrained(folder.path, result, pd.DataFrame(fitted.history), first)


def _split(subject: AnnData, settings: PretrainSettings) -> Split:
    if "split" in subject.obs.columns and settings.split_by == "auto":
        chosen = Split.from_obs(subject)
    else:
        chosen = split(
            subject,
            by=settings.split_by,
            label=settings.stratify,
            val=settings.val,
            test=settings.test,
            seed=settings.seed,
        )
    if chosen.note:
        log.info(chosen.note)
    for part in ("train", "val"):
        if chosen.counts[part] == 0:
            raise DataError(
                f"the split has no {part} cells (train {chosen.counts['train']}, val "
                f"{chosen.counts['val']}, test {chosen.counts['test']}); pretraining needs both: "
                "raise --val, or split again"
            )
    return chosen


def _tokenize(
    subject: AnnData, counts: Any, chosen: Split, settings: PretrainSettings
) -> _Tokenized:
    names = np.asarray(subject.obs_names, dtype=np.str_)
    if len(np.unique(names)) < len(names):
        values, times = np.unique(names, return_counts=True)
        raise DataError(
            f"the cell name {values[times.argmax()]!r} stands {times.max()} times; masks and splits "
            "are kept by cell name: make the names unique first (adata.obs_names_make_unique())"
        )
    vocabulary = Vocabulary.from_var(subject.var)
    counts = vocabulary.take(counts, vocabulary.align(subject.var))
    rows = {part: chosen.rows(part, names) for part in ("train", "val", "test")}
    empty = np.flatnonzero(np.diff(counts.indptr) == 0)
    if len(empty):
        log.warning("%d cells have no counts at all, %s first", len(empty), names[empty[0]])
    tokenizer: BinnedTokenizer | CellBinnedTokenizer
    if settings.tokenizer == "binned":
        tokenizer = BinnedTokenizer(
            settings.num_bins, settings.target_sum, settings.log1p, settings.zero_bin
        )
    else:
        tokenizer = KINDS["cell-binned"](settings.num_bins)
    train = rows["train"]
    tokenizer.fit(
        RowBlock(counts[part], names[part], part)
        for part in np.array_split(train, max(1, len(train) // 4096))
    )
    by_count = settings.mask_nonzero == "count"
    keys = cell_keys(names)
    parts = {}
    for part, at in rows.items():
        bins = tokenizer.bins(counts[at])
        nonzero = counts[at].toarray() > 0 if by_count else None
        parts[part] = BinnedCells(bins, nonzero, keys[at])
    part_of = np.full(len(names), "", dtype="<U5")
    for part, at in rows.items():
        part_of[at] = part
    known = part_of != ""
    hashes = cell_hashes(counts)
    grouped = chosen.by is not None and chosen.by in subject.obs.columns
    units_n = subject.obs[chosen.by].astype(str).to_numpy(dtype=np.str_) if grouped else names
    data = {
        "fingerprint": fingerprint(subject, hashes),
        "n_obs": int(subject.n_obs),
        "n_vars": int(subject.n_vars),
        "genes": len(vocabulary),
        "cells": {part: len(at) for part, at in rows.items()},
        "split": chosen.to_dict(),
        "verdict": "counts",
    }
    return _Tokenized(
        vocabulary,
        tokenizer,
        parts,
        rows,
        names,
        units_n,
        FittedCells(names[known], part_of[known], hashes[known]),
        data,
    )


def _same_data(folder: RunFolder, data: Mapping[str, Any]) -> None:
    began = folder.read_json("provenance.json")["data"]
    if began["fingerprint"] != data["fingerprint"]:
        raise RunError(
            f"{folder.path} began on other data (fingerprint {began['fingerprint'][:12]}, "
            f"{began['n_obs']} cells) than these ({data['fingerprint'][:12]}, {data['n_obs']} "
            "cells); continue with the same file"
        )
    if began["split"]["hash"] != data["split"]["hash"]:
        raise RunError(f"{folder.path} began with another split of these cells; continue with that")


def _references(
    tokens: _Tokenized, part: str, rule: MaskRule, settings: PretrainSettings
) -> References:
    train, held = tokens.parts["train"], tokens.parts[part]
    all_train, all_held = np.arange(len(train)), np.arange(len(held))
    nonzero = held.nonzero(all_held)
    return references(
        train.bins_ng,
        train.nonzero(all_train),
        held.bins_ng,
        nonzero,
        held.masked(all_held, rule, VALIDATION_EPOCH, settings.seed),
        rule,
        tokens.tokenizer.n_bins_g,
        settings.seed,
        n_values=tokens.tokenizer.n_values,
    )


def _reference_columns(found: References) -> dict[str, float]:
    columns = {f"ref_{name}": value for name, value in found.perplexity.items()}
    return {**columns, "ref_majority_accuracy": found.accuracy["majority"]}


def _judge(
    model: Any,
    tokens: _Tokenized,
    chosen: Split,
    settings: PretrainSettings,
    fitted: Fitted,
    val_references: References,
) -> dict[str, Any]:
    """``metrics.json``: on test cells where there are any, else on validation cells, said so."""
    rule, seed = settings.mask_rule, settings.seed
    part = "test" if len(tokens.parts["test"]) else "val"

    def measured(of: str) -> MaskedMeasures:
        cells = tokens.parts[of]
        batches = validation_batches(cells, rule, batch_size=settings.val_batch_size, seed=seed)
        return measure(model, batches, torch.device("cpu"))

    held = measured(part)
    beside = _references(tokens, part, rule, settings) if part == "test" else val_references
    train_at_best = fitted.history[fitted.best_epoch - 1]["train_loss"]
    val_at_best = fitted.history[fitted.best_epoch - 1]["val_loss"]
    rules = {
        "bins": tokens.tokenizer.rule,
        "mask": rule.words,
        "genes": len(tokens.vocabulary),
        "bins_in_use": int(np.sum(tokens.tokenizer.n_bins_g)),
    }
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "scored_on": part,
        "cells": {name: len(cells) for name, cells in tokens.parts.items()},
        "perplexity": {"model": held.perplexity, **beside.perplexity},
        "best_reference": beside.best,
        "masked_accuracy": {
            "model": held.accuracy,
            "zero": _number(held.zero_accuracy),
            "nonzero": _number(held.nonzero_accuracy),
            "majority": beside.accuracy["majority"],
        },
        "bits_per_gene": held.bits_per_gene,
        "seconds": fitted.seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "cells_per_second": fitted.cells_per_second,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "gap": {"train": train_at_best, "val": val_at_best},
        "still_falling": still_falling([row["val_loss"] for row in fitted.history]),
        "rule": rules,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    unit_m, unit = tokens.units_n[tokens.rows[part]], chosen.by or "cells"
    result["scores"] = [
        score.to_dict()
        for score in perplexity_scores(
            held.nll_n, beside.nll_n, beside.best, unit_m, unit, split=part, seed=seed
        )
    ]
    result["sentences"] = sentences(result)
    return result


def _write(
    folder: RunFolder,
    model: Any,
    tokens: _Tokenized,
    settings: PretrainSettings,
    fitted: Fitted,
    result: dict[str, Any],
) -> None:
    folder.write_weights("last.safetensors", fitted.last)
    folder.write_weights("model.safetensors", fitted.best)
    folder.write_json(
        "provenance.json",
        {
            **provenance(settings.seed, tokens.data),
            "seconds": fitted.seconds,
            "peak_memory_bytes": peak_memory_bytes(),
        },
    )
    cells = tokens.parts["val"]
    one = cells.batch(np.array([0]), settings.mask_rule, VALIDATION_EPOCH, settings.seed)
    rows = [
        {
            "gene_id": str(tokens.vocabulary.gene_ids[row["column"]]),
            "gene_symbol": str(tokens.vocabulary.symbols[row["column"]]),
            "true_bin": row["true_bin"],
            "top": row["top"],
        }
        for row in example(model, one)
    ]
    name = str(tokens.names[tokens.rows["val"][0]])
    folder.write_json("examples.json", {"cell": name, "part": "val", "rows": rows})
    draw(folder, pd.DataFrame(fitted.history), result)
    # Last: a folder with metrics.json is a finished run.
    folder.write_json("metrics.json", result)


def draw(folder: RunFolder, history: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """The figures of a run, under ``figures/``."""
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    rule = f"{metrics['rule']['bins']}; {metrics['rule']['mask']}"
    best = min(
        (c for c in history.columns if c.startswith("ref_") and c != "ref_majority_accuracy"),
        key=lambda c: float(history[c].to_numpy()[0]),
    ).removeprefix("ref_")
    save_figure(loss_curve(history), figures / "loss.png")
    save_figure(perplexity_curve(history, best=best, rule=rule), figures / "perplexity.png")
    save_figure(masked_accuracy_curve(history), figures / "masked_accuracy.png")
    save_figure(zero_nonzero_curve(history), figures / "zero_nonzero.png")
    save_figure(training_curves(history, best=best, rule=rule), figures / "training.png")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
