"""Every kind of file that sr3d reads back: damage is detected, or changes nothing."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sr3d
from sr3d.cli import main
from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import config_from_dict
from sr3d.detectors.weights import Checkpoint, read_checkpoint, write_model
from sr3d.errors import DamagedFile, InputError, Kind, OtherRun
from sr3d.evaluate import loop as evaluation
from sr3d.evaluate.scored_files import read_scored
from sr3d.runs.files import read_json, sha256, write_json
from sr3d.runs.markers import MARKER, marker_holds, write_marker
from sr3d.runs.record import read_metrics, read_run, run_file, write_run
from sr3d.study.report.findings import find_summary, write_summary
from sr3d.train.checkpoint import CHECKPOINT_FILE, TrainingState, read_state, write_state
from sr3d.train.training import train
from tests.damage import assert_detected_or_harmless, cut_off, flipped_bits
from tests.evaluating import evaluate
from tests.make_runs import make_tree
from tests.test_training import job, tiny

FLIPS, CUTS = 300, 12

SHORT = ["train.repeat=1", "train.epochs=1", "train.milestones=[]"]


@pytest.fixture(scope="module")
def run(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training and its evaluation."""
    out = tmp_path_factory.mktemp("results") / "synthetic/sr3d/train0"
    train(job(rooms, out, tiny("synthetic", *SHORT)))
    evaluate(out, rooms, out / "test0", index=0)
    return out


def same_tensors(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def same_arrays(one: Any, other: Any) -> bool:
    """Of two dataclasses, nested, with arrays among their values."""
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same_arrays(getattr(one, n), getattr(other, n)) for n in names)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def same_model(one: Detector[Any, Any], other: Detector[Any, Any]) -> bool:
    return same_tensors(one.state_dict(), other.state_dict())


def same_checkpoint(one: Checkpoint, other: Checkpoint) -> bool:
    said = [(c.config, c.classes, c.naming, c.voxel_size) for c in (one, other)]
    return said[0] == said[1] and same_tensors(dict(one.weights), dict(other.weights))


def same_scene(one: Scene, other: Scene) -> bool:
    return torch.equal(one.points, other.points) and torch.equal(one.colors, other.colors)


READERS: dict[str, Callable[[Path, Path], tuple[Path, Callable[[], Any], Any]]] = {
    "record of a training": lambda run, _: (run / "run.json", lambda: read_run(run), eq),
    "record of a test": lambda run, _: (
        run / "test0/run.json",
        lambda: read_run(run / "test0"),
        eq,
    ),
    "weights of a run": lambda run, _: (
        run / "model.safetensors",
        lambda: sr3d.load(run),
        same_model,
    ),
    "weights alone": lambda run, _: (
        run / "model.safetensors",
        lambda: read_checkpoint(run / "model.safetensors"),
        same_checkpoint,
    ),
    "metrics": lambda run, _: (
        run / "metrics.jsonl",
        lambda: read_metrics(run_file(run, read_run(run), "metrics.jsonl")),
        eq,
    ),
    "detections of a run": lambda run, _: (
        run / "test0/detections.npz",
        lambda: read_scored(run_file(run / "test0", read_run(run / "test0"), "detections.npz")),
        same_arrays,
    ),
    "detections alone": lambda run, _: (
        run / "test0/detections.npz",
        lambda: read_scored(run / "test0/detections.npz"),
        same_arrays,
    ),
    "manifest": lambda _, data: (data / "manifest.json", lambda: read_manifest(data), eq),
    "points": lambda _, data: (
        data / "points" / f"{PreparedDataset(data, 'train').ids[0]}.npy",
        lambda: PreparedDataset(data, "train")[0],
        same_scene,
    ),
    "ground truth": lambda _, data: (
        data / "train.npz",
        lambda: [
            (s.id, s.boxes.tensor.tolist(), s.labels.tolist())
            for s in PreparedDataset(data, "train").without_points()
        ],
        eq,
    ),
}


@pytest.mark.parametrize("kind", READERS)
def test_damage_is_detected_or_harmless(kind: str, run: Path, rooms: Path) -> None:
    path, read, same = READERS[kind](run, rooms)
    slow = kind == "weights of a run"  # builds a network each time
    assert_detected_or_harmless(path, FLIPS // 6 if slow else FLIPS, CUTS, read, same)


def state(folder: Path) -> TrainingState:
    torch.manual_seed(0)
    values = {"a": torch.randn(30, 20), "b": torch.arange(5)}
    return TrainingState({"seed": 1}, [{"step": 0}], 3, 1.5, '{"step": 3}\n', values, {"x": 1.0})


def test_damage_to_a_checkpoint_is_detected(tmp_path: Path, caplog: Any) -> None:
    write_state(tmp_path, state(tmp_path))
    path = tmp_path / CHECKPOINT_FILE
    whole = path.read_bytes()
    for damaged in [*flipped_bits(whole, FLIPS), *cut_off(whole, CUTS)]:
        path.write_bytes(damaged)
        caplog.clear()
        assert read_state(tmp_path) is None
        assert CHECKPOINT_FILE in caplog.text


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    write_state(tmp_path, state(tmp_path))
    found = read_state(tmp_path)
    assert found is not None
    assert same_tensors(found.model, state(tmp_path).model)
    assert dataclasses.replace(found, model={}) == dataclasses.replace(state(tmp_path), model={})


def test_damage_to_a_summary_is_detected(tmp_path: Path) -> None:
    make_tree(tmp_path, settings={"sr3d": []})
    folder = tmp_path / "synthetic/sr3d"
    write_summary(folder, folder / "summary.json", 2, 2)
    assert_detected_or_harmless(
        folder / "summary.json", FLIPS // 4, CUTS, lambda: find_summary(folder), eq
    )


@pytest.mark.parametrize("value", [99.0, 0])
def test_an_edited_ap_is_refused(run: Path, tmp_path: Path, value: float) -> None:
    edited = read_json(run / "test0/run.json")
    edited["metrics"]["AP25"] = value
    write_json(tmp_path / "run.json", edited)
    with pytest.raises(DamagedFile) as caught:
        read_run(tmp_path)
    assert (caught.value.file, caught.value.kind) == (tmp_path / "run.json", Kind.UNREADABLE)
    assert "sr3d test" in str(caught.value.remedy)


def test_a_record_of_an_earlier_version_has_no_checksum(run: Path, tmp_path: Path) -> None:
    value = read_json(run / "run.json")
    del value["checksum"]
    del value["weights"]
    write_json(tmp_path / "run.json", value)
    assert read_run(tmp_path) == read_run(run)


def test_weights_of_other_programs_and_earlier_versions_load(run: Path, tmp_path: Path) -> None:
    ours = read_checkpoint(run / "model.safetensors")
    save_file(dict(ours.weights), tmp_path / "plain.safetensors", {"format": "pt"})
    assert same_tensors(
        dict(read_checkpoint(tmp_path / "plain.safetensors").weights), dict(ours.weights)
    )


def test_a_converted_file_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    model = build_detector(tiny())
    for name in ("a", "b"):
        write_model(tmp_path / f"{name}.safetensors", model, tiny(), {"from": "a test"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    changed = build_detector(tiny())
    changed.load_state_dict({n: v + 1 for n, v in model.state_dict().items()})
    write_model(tmp_path / "c.safetensors", changed, tiny(), {"from": "a test"})
    assert (tmp_path / "a.safetensors").read_bytes() != (tmp_path / "c.safetensors").read_bytes()


# ---------------------------------------------------------------- evaluations


@pytest.fixture
def evaluated(run: Path, tmp_path: Path) -> Path:
    """A copy of the evaluation."""
    for name in ("run.json", "detections.npz"):
        (tmp_path / name).write_bytes((run / "test0" / name).read_bytes())
    return tmp_path


@pytest.fixture
def detections_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    detect = evaluation.detect_scenes

    def counted(*args: Any) -> Any:
        made.append(1)
        return detect(*args)

    monkeypatch.setattr(evaluation, "detect_scenes", counted)
    return made


def test_a_finished_evaluation_is_returned_and_another_one_refused(
    run: Path, rooms: Path, evaluated: Path, detections_made: list[int]
) -> None:
    record = read_run(evaluated)
    assert evaluate(run, rooms, evaluated, index=0) == record
    others: dict[str, dict[str, Any]] = {
        "evaluation": {"index": 1},
        "split": {"index": 0, "split": "train"},
        "configuration": {"index": 0, "overrides": ["test.nms=3d"]},
        "setting": {"index": 0, "setting": "other"},
    }
    for difference, other in others.items():
        with pytest.raises(OtherRun) as caught:
            evaluate(run, rooms, evaluated, **other)
        assert difference in str(caught.value.field).split(", ")
        assert caught.value.file == evaluated
    assert detections_made == []
    assert read_run(evaluated) == record


def test_a_finished_evaluation_needs_the_weights_no_more(
    run: Path, rooms: Path, evaluated: Path, tmp_path: Path
) -> None:
    training = tmp_path / "training"
    training.mkdir()
    (training / "run.json").write_bytes((run / "run.json").read_bytes())
    assert evaluate(training, rooms, evaluated, index=0) == read_run(evaluated)


def test_an_evaluation_of_other_weights_is_refused(
    run: Path, rooms: Path, evaluated: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    train(
        job(
            rooms,
            other,
            tiny("synthetic", *SHORT),
            index=0,
        )
    )
    record = read_run(other)
    model = sr3d.load(other)
    model.load_state_dict({n: v * 2 for n, v in model.state_dict().items()})

    write_model(other / "model.safetensors", model, config_from_dict(record.config), {})
    files = {**record.files, "model.safetensors": sha256(other / "model.safetensors")}
    write_run(other, dataclasses.replace(record, files=files))
    with pytest.raises(OtherRun) as caught:
        evaluate(other, rooms, evaluated, index=0)
    assert (caught.value.file, caught.value.field) == (evaluated, "weights")


@pytest.mark.parametrize("name", ["run.json", "detections.npz"])
def test_a_finished_evaluation_with_a_damaged_file_is_repeated_with_a_warning(
    run: Path, rooms: Path, evaluated: Path, caplog: Any, name: str
) -> None:
    before = read_run(evaluated)
    (evaluated / name).write_bytes((evaluated / name).read_bytes()[:-3])
    again = evaluate(run, rooms, evaluated, index=0)
    assert (again.metrics, again.files) == (before.metrics, before.files)
    assert name in caplog.text
    assert read_run(evaluated) == again


def test_an_evaluation_refuses_damaged_weights(run: Path, rooms: Path, tmp_path: Path) -> None:
    path = run / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(DamagedFile) as caught:
            evaluate(run, rooms, tmp_path, index=0)
        assert caught.value.file == path
        assert "sr3d train" in str(caught.value.remedy)
        assert not (tmp_path / "run.json").exists()
    finally:
        path.write_bytes(whole)


def test_an_evaluation_is_no_training_run(run: Path, rooms: Path, tmp_path: Path) -> None:
    # Else the remedy would be to repeat the evaluation, which has no weights either.
    with pytest.raises(InputError) as caught:
        evaluate(run / "test0", rooms, tmp_path, index=0)
    assert (caught.value.file, caught.value.kind) == (run / "test0", Kind.CONFLICT)
    assert "sr3d train" in str(caught.value.remedy)
    for model in (["detect", "scan.ply", "--model"], ["benchmark", "--run"]):
        with pytest.raises(InputError) as caught:
            main([*model, str(run / "test0"), "--debug"])
        assert caught.value.kind in (Kind.CONFLICT, Kind.MISSING)


def test_the_remedy_for_a_file_that_the_record_lacks_repeats_the_run(run: Path) -> None:
    record = dataclasses.replace(read_run(run), files={})
    with pytest.raises(DamagedFile) as caught:
        run_file(run, record, "model.safetensors")
    assert f"Move {run} away" in str(caught.value.remedy)  # else the run counts as finished


def test_a_damaged_run_loses_its_marker_so_that_a_workflow_makes_it_again(
    run: Path, rooms: Path, tmp_path: Path
) -> None:
    """Markers hold sizes of large files, so a flipped bit is found by what reads the file."""
    setting = tmp_path / "results/synthetic/sr3d"
    shutil.copytree(run, setting / "train0")
    trained, tested = setting / "train0", setting / "train0/test0"
    for folder, name in ((trained, "model.safetensors"), (tested, "detections.npz")):
        write_marker(folder / MARKER, [folder / "run.json"], [folder / name])
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        assert marker_holds(folder / MARKER)
    words = ["--run", str(trained), "--data", str(rooms), "--test", "1", "--out"]
    assert main(["test", *words, str(trained / "test1")]) == 2
    assert not (trained / MARKER).exists()
    assert (tested / MARKER).exists()
    with pytest.raises(DamagedFile) as caught:
        write_summary(setting, setting / "summary.json")
    assert caught.value.file == tested / "detections.npz"
    assert "snakemake" in str(caught.value.remedy)
    assert not (tested / MARKER).exists()
    assert main(["summarise", str(setting), "--out", str(setting / "summary.json")]) == 2
    assert not list(setting.glob("*summary.json*"))


def test_a_record_that_lost_its_checksum_is_refused(run: Path, tmp_path: Path) -> None:
    text = (run / "run.json").read_text()
    for changed in (
        text.replace('"checksum"', '"chdcksum"'),
        text.replace('"weights"', '"weight"'),
    ):
        assert changed != text
        (tmp_path / "run.json").write_text(changed)
        with pytest.raises(DamagedFile):
            read_run(tmp_path)
    value = read_json(run / "run.json")
    del value["checksum"]
    write_json(tmp_path / "run.json", value)
    with pytest.raises(DamagedFile):
        read_run(tmp_path)
