"""What a run does as the job of a workflow: replace, wait, leave a marker."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr3d.cli import main
from sr3d.cli.jobs import mark_run, run_or_replace
from sr3d.errors import InputError, Kind, OtherRun
from sr3d.runs.files import exclusive
from sr3d.runs.markers import marker_holds
from sr3d.runs.record import RunRecord, read_run
from sr3d.train.replacing import set_aside
from tests.make_runs import make_test, make_training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished training with one evaluation."""
    make_training(tmp_path, "synthetic", "sr3d", [], 0)
    make_test(tmp_path, "synthetic", "sr3d", [], 0, 0, 60.0)
    return tmp_path / "synthetic/sr3d/train0"


def test_another_run_is_refused_or_replaced(
    folder: Path, rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_otherwise(*_: object) -> RunRecord:
        if (folder / "run.json").exists():
            raise OtherRun("another run has ended there", kind=Kind.CONFLICT)
        return make_training(folder.parents[2], "synthetic", "sr3d", ["assigner.k=7"], 0)

    monkeypatch.setattr("sr3d.train.training.train", train_otherwise)
    words = ["train", "--dataset", "synthetic", "--data", str(rooms), "--out", str(folder)]
    old = read_run(folder)
    assert main(words) == 2
    assert read_run(folder) == old
    assert main([*words, "--replace"]) == 0
    assert read_run(folder) != old
    assert not (folder / "test0" / "run.json").exists()  # it was an evaluation of the old weights
    [aside] = (folder.parent / "replaced").iterdir()
    assert read_run(aside) == old
    assert {path.name for path in aside.iterdir()} == {"run.json", *old.files, "test0"}


def test_another_evaluation_is_refused_or_replaced(
    folder: Path, rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "test0"

    def evaluate_otherwise(*_: object) -> RunRecord:
        if (out / "run.json").exists():
            raise OtherRun("another run has ended there", kind=Kind.CONFLICT)
        return make_test(folder.parents[2], "synthetic", "sr3d", [], 0, 0, 10.0)

    monkeypatch.setattr("sr3d.evaluate.loop.Evaluator.evaluate", evaluate_otherwise)
    words = ["test", "--run", str(folder), "--data", str(rooms), "--out", str(out)]
    assert main(words) == 2
    assert read_run(out).metrics["AP25"] == 60.0
    assert main([*words, "--replace"]) == 0
    assert read_run(out).metrics["AP25"] == 10.0


def test_a_run_at_work_is_not_replaced(folder: Path) -> None:
    def refuse() -> RunRecord:
        raise OtherRun("another run is at work there", kind=Kind.CONFLICT)

    lock = exclusive(folder / "run.json")
    with exclusive(folder / "run.json"), pytest.raises(InputError) as caught:
        run_or_replace(refuse, folder, replace=True, lock=lock)
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
    mark_run(folder / "done.json", folder, read_run(folder))
    assert marker_holds(folder / "done.json")
    (folder / "model.safetensors").write_bytes(b"cut")
    assert not marker_holds(folder / "done.json")
