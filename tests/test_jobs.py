"""What a run does as the job of a workflow: replace, wait, leave a marker."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from sr3d.cli.jobs import mark_run, replacing
from sr3d.errors import InputError, Kind, OtherRun
from sr3d.runs.files import exclusive
from sr3d.runs.markers import marker_holds
from sr3d.runs.record import RunRecord, read_run
from sr3d.train.replacing import set_aside
from tests.make_runs import make_test, make_training


def options(out: Path, **changes: object) -> argparse.Namespace:
    values = {"out": out, "replace": False, "wait": False, "done": None}
    return argparse.Namespace(**{**values, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished training with one evaluation."""
    make_training(tmp_path, "synthetic", "sr3d", [], 0)
    make_test(tmp_path, "synthetic", "sr3d", [], 0, 0, 60.0)
    return tmp_path / "synthetic/sr3d/train0"


def train_otherwise(folder: Path) -> RunRecord:
    """As `sr3d train` with another configuration."""
    if (folder / "run.json").exists():
        raise OtherRun("another run has ended there")
    return make_training(folder.parents[2], "synthetic", "sr3d", ["assigner.k=7"], 0)


def test_another_run_is_refused_or_replaced(folder: Path) -> None:
    old = read_run(folder)
    with pytest.raises(OtherRun):
        replacing(options(folder), lambda: train_otherwise(folder))
    new = replacing(options(folder, replace=True), lambda: train_otherwise(folder))
    assert read_run(folder) == new != old
    assert not (folder / "test0" / "run.json").exists()  # it was an evaluation of the old weights
    [aside] = (folder.parent / "replaced").iterdir()
    assert read_run(aside) == old
    assert {path.name for path in aside.iterdir()} == {"run.json", *old.files, "test0"}


def test_a_run_at_work_is_not_replaced(folder: Path) -> None:
    with exclusive(folder / "run.json"), pytest.raises(InputError) as caught:
        replacing(options(folder, replace=True), lambda: train_otherwise(folder))
    assert (caught.value.file, caught.value.kind) == (folder / "run.json", Kind.CONFLICT)
    assert read_run(folder).overrides == []


def test_setting_aside_can_be_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, rename, moved = read_run(folder), Path.rename, list[str]()

    def die_at_the_second(self: Path, target: Path) -> Path:
        if len(moved) == 1:
            raise KeyboardInterrupt
        moved.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        set_aside(folder)
    monkeypatch.undo()
    aside = set_aside(folder)
    assert read_run(aside) == old
    assert all((aside / name).exists() for name in [*old.files, "test0/run.json"])
    assert not (folder / "run.json").exists()


def test_the_marker_is_of_the_run(folder: Path) -> None:
    mark_run(options(folder, done=folder / "done.json"), read_run(folder))
    assert marker_holds(folder / "done.json")
    (folder / "model.safetensors").write_bytes(b"cut")
    assert not marker_holds(folder / "done.json")
