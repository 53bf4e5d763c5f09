"""A study: one folder, steps that are not repeated, settings that are checked."""

from __future__ import annotations

import json
import tomllib

import pytest

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.workflows.study import study
from cellwright.workflows.study_settings import STUDIES, as_sections, study_settings

SMALL = (
    "simulate.cells=160",
    "simulate.genes=60",
    "simulate.donors=8",
    "simulate.libraries=8",
    "pretrain.epochs=2",
    "probe.shuffles=2",
    "probe.folds=2",
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "demo"
    return study(out, preset="demo", changes=SMALL)


def test_every_part_is_there(done):
    names = {path.name for path in done.folder.iterdir()}
    assert {
        "inspection.json",
        "study.toml",
        "simulated.h5ad",
        "embedded.h5ad",
        "neurons",
        "probe",
        "cluster",
        "report.html",
    } <= names
    assert any("perplexity" in sentence for sentence in done.sentences)
    page = done.report.read_text(encoding="utf-8")
    metrics = json.loads((done.folder / "neurons" / "metrics.json").read_text())
    assert f"{metrics['perplexity']['model']:.2f}" in page


def test_complete_steps_are_skipped_and_a_changed_one_needs_force(done):
    again = study(done.folder, preset="demo", changes=SMALL)
    assert again.skipped == ["simulate", "inspect", "pretrain", "embed", "probe", "cluster"]
    changed = [*SMALL, "cluster.resolution=0.5"]
    with pytest.raises(RunError, match="step cluster was made with other settings"):
        study(done.folder, preset="demo", changes=changed)
    forced = study(done.folder, preset="demo", changes=changed, force=True)
    assert forced.skipped == ["simulate", "inspect", "pretrain", "embed", "probe"]
    stored = json.loads((done.folder / "cluster" / "metrics.json").read_text())
    assert stored["settings"]["resolution"] == 0.5
    written = study_settings(None, done.folder / "study.toml", (), None)
    assert written == study_settings("demo", None, changed, None)


@pytest.mark.parametrize("name", STUDIES)
def test_presets_survive_toml(name, tmp_path):
    from cellwright.config import dump_toml

    chosen = study_settings(name, None, (), None)
    path = tmp_path / "study.toml"
    path.write_text(dump_toml(as_sections(chosen)), encoding="utf-8")
    assert tomllib.loads(path.read_text())["pretrain"]["num_bins"] == 20
    assert study_settings(None, path, (), None) == chosen


@pytest.mark.parametrize(
    ("preset", "changes", "sentence"),
    [
        ("neuron-2025", (), "'neuron-2025'.*'neurons-2025'"),
        ("demo", ("pretrain.epoch=3",), "'epoch'.*'epochs'"),
        ("demo", ("pretrian.epochs=3",), "'pretrian'.*'pretrain'"),
        ("demo", ("epochs=3",), "'epochs=3'.*section.key=value"),
        ("demo", ("pretrain.epochs=many",), "'epochs' is 'many', expected int"),
        ("demo", ("pretrain.size=huge",), "'size' is 'huge'"),
    ],
)
def test_wrong_settings_name_the_nearest(preset, changes, sentence, tmp_path):
    with pytest.raises(SettingsError, match=sentence):
        study(tmp_path / "out", preset=preset, changes=changes)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is not a study"):
        study(tmp_path, preset="demo", changes=SMALL, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_data_that_cannot_be_read_end_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.h5ad"):
        study(tmp_path / "out", preset="demo", data=tmp_path / "nowhere.h5ad")
