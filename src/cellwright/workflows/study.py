"""A whole study from a file to a report page; steps that are complete are not run again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellwright.config import dump_toml, to_dict
from cellwright.data.atomic import atomic_file
from cellwright.data.inspect import inspect
from cellwright.data.reading import write_cells
from cellwright.data.simulate import simulate
from cellwright.errors import RunError
from cellwright.report.page import build_report
from cellwright.training.loop import Progress, Row
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.cluster import cluster
from cellwright.workflows.embed import embed
from cellwright.workflows.plain_files import plain
from cellwright.workflows.pretrain import pretrain, read_finished
from cellwright.workflows.probe import probe
from cellwright.workflows.study_settings import StudySettings, as_sections, study_settings

log = logging.getLogger(__name__)

STATE = "study.json"


@dataclass(frozen=True)
class Studied:
    """folder: of the study; report: its page; skipped: steps that were complete already;
    sentences: the findings of all steps."""

    folder: Path
    report: Path
    skipped: list[str]
    sentences: list[str]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "cellwright.study/1",
            "folder": str(self.folder),
            "report": str(self.report),
            "skipped": self.skipped,
            "sentences": self.sentences,
        }

    def text(self) -> str:
        return "\n".join([*self.sentences, "", f"report: {self.report}"])


def study(
    out: Path | str,
    *,
    preset: str | None = None,
    settings: Path | str | None = None,
    data: Path | str | None = None,
    changes: Sequence[str] = (),
    force: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
) -> Studied:
    """Run a study into the folder ``out``: inspect, pretrain, embed, probe, cluster, report.

    A second call with the same settings and data skips what is complete; a changed setting runs
    its step and those that follow again; a stopped pretraining continues.

    Parameters
    ----------
    preset, settings, data, changes
        As ``cellwright study``: a preset's name, a TOML file, the h5ad, ``section.key=value``.
    force
        Replace a study whose settings or data differ from these.

    Raises
    ------
    CellwrightError
        One sentence, as the step that failed says it.
    """
    chosen = study_settings(preset, None if settings is None else Path(settings), changes, data)
    return run_study(chosen, Path(out), force=force, on_epoch=on_epoch, on_step=on_step)


def run_study(
    settings: StudySettings,
    out: Path,
    *,
    force: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
) -> Studied:
    """Run a study with settings that are already put together; see :func:`study`."""
    steps = _Steps(out, force)
    source = _data(settings, steps)
    with atomic_file(out / "study.toml") as temporary:
        temporary.write_text(dump_toml(as_sections(settings)), encoding="utf-8")

    origin = [_identity(source), settings.layer]
    if steps.needed("inspect", origin, out / "inspection.json"):
        looked = inspect(source, column=settings.label)
        with atomic_file(out / "inspection.json") as temporary:
            temporary.write_text(json.dumps(looked.to_dict()), encoding="utf-8")
        steps.done("inspect")

    run = out / settings.name
    trained = [*origin, to_dict(settings.pretrain)]
    if steps.needed("pretrain", trained, run / "metrics.json"):
        # A run that began with these very settings goes on from its checkpoint.
        resume = steps.began("pretrain", trained) and (run / "config.toml").is_file()
        steps.begin("pretrain", trained)
        pretrain(
            source,
            run,
            layer=settings.layer,
            force=True,
            resume=resume and not RunFolder(run).is_finished(),
            on_epoch=on_epoch,
            on_step=on_step,
            **to_dict(settings.pretrain),
        )
        steps.done("pretrain")

    embedded = out / "embedded.h5ad"
    if steps.needed("embed", trained, embedded):
        embed(run, source, embedded, layer=settings.layer, force=True)
        steps.done("embed")

    asked = [*trained, settings.label, settings.positive, settings.negative]
    if steps.needed("probe", [*asked, to_dict(settings.probe)], out / "probe" / "metrics.json"):
        probe(
            source,
            [run],
            label=settings.label,
            positive=settings.positive or None,
            negative=settings.negative or None,
            group=settings.probe.group,
            folds=settings.probe.folds,
            class_weight=settings.probe.class_weight,
            shuffles=settings.probe.shuffles,
            seed=settings.probe.seed,
            layer=settings.layer,
            ignore_unmapped=bool(settings.positive or settings.negative),
            out=out / "probe",
            force=True,
        )
        steps.done("probe")

    clustered = [*trained, settings.label, to_dict(settings.cluster)]
    if steps.needed("cluster", clustered, out / "cluster" / "metrics.json"):
        cluster(
            source,
            [run],
            label=settings.label,
            neighbors=settings.cluster.neighbors,
            metric=settings.cluster.metric,
            resolution=settings.cluster.resolution,
            method=settings.cluster.method,
            seed=settings.cluster.seed,
            layer=settings.layer,
            out=out / "cluster",
            force=True,
        )
        steps.done("cluster")

    # Always drawn anew: it takes seconds, and a newer version may draw it better.
    report = build_report(
        run,
        [out / "probe"],
        [out / "cluster"],
        out / "inspection.json",
        title=f"{settings.name}: {Path(source).name}",
        out=out / "report.html",
    )
    found = list(read_finished(run).sentences)
    for step in ("probe", "cluster"):
        metrics = json.loads((out / step / "metrics.json").read_text(encoding="utf-8"))
        found += metrics["sentences"]
    return Studied(out, report, steps.skipped, found)


class _Steps:
    """Which steps of a study folder are complete, with a hash of all that they depend on."""

    def __init__(self, folder: Path, force: bool) -> None:
        self.folder, self.force = folder, force
        self.skipped: list[str] = []
        self._hashes: dict[str, str] = {}
        if folder.is_file():
            raise RunError(f"{folder} is a file; name a folder for the study")
        known = (folder / STATE).is_file()
        if folder.is_dir() and any(folder.iterdir()) and not known:
            raise RunError(
                f"{folder} holds something that is not a study; choose another place with -o"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._state: dict[str, dict[str, Any]] = {}
        if known:
            try:
                self._state = json.loads((folder / STATE).read_text(encoding="utf-8"))["steps"]
            except (json.JSONDecodeError, KeyError) as error:
                raise RunError(f"{folder / STATE} is damaged: {error}") from None
        else:
            self._save()

    def needed(self, step: str, depends: Sequence[Any], result: Path) -> bool:
        """Whether a step must run; a complete one with other settings is replaced under force."""
        key = _hash(depends)
        self._hashes[step] = key
        before = self._state.get(step)
        if before and before["hash"] == key and before["done"] and result.exists():
            log.info("%s is complete, skipped", step)
            self.skipped.append(step)
            return False
        if before and before["hash"] != key and before["done"] and not self.force:
            raise RunError(
                f"{self.folder} holds a study whose step {step} was made with other settings or "
                "data; choose another place with -o or pass --force to replace it"
            )
        log.info("%s …", step)
        return True

    def began(self, step: str, depends: Sequence[Any]) -> bool:
        before = self._state.get(step)
        return bool(before) and before is not None and before["hash"] == _hash(depends)

    def begin(self, step: str, depends: Sequence[Any]) -> None:
        self._state[step] = {"hash": _hash(depends), "done": False}
        self._save()

    def done(self, step: str) -> None:
        self._state[step] = {"hash": self._hashes[step], "done": True}
        self._save()

    def _save(self) -> None:
        with atomic_file(self.folder / STATE) as temporary:
            content = {"schema": "cellwright.study/1", "steps": self._state}
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _data(settings: StudySettings, steps: _Steps) -> Path:
    if settings.data is not None:
        return Path(settings.data)
    path = steps.folder / "simulated.h5ad"
    if steps.needed("simulate", [to_dict(settings.simulate)], path):
        wanted = settings.simulate
        cells = simulate(
            wanted.cells,
            wanted.genes,
            seed=wanted.seed,
            n_donors=wanted.donors,
            n_libraries=wanted.libraries,
            n_programs=wanted.programs,
            depth=wanted.depth,
            subclasses=wanted.subclasses or None,
        )
        write_cells(cells, path, force=True)
        steps.done("simulate")
    return path


def _identity(path: Path) -> list[Any]:
    """What tells one version of a file from another without reading it."""
    try:
        stat = path.stat()
    except OSError:
        return [str(path.name)]  # reading it says what is wrong
    return [path.name, stat.st_size, stat.st_mtime_ns]


def _hash(depends: Sequence[Any]) -> str:
    text = json.dumps(plain(depends), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
