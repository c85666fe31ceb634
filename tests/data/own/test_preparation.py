"""A folder of one's own scans as a prepared set."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.cli import main
from sr3d.data.own.export import export_folder
from sr3d.data.own.preparation import LabelOptions, prepare_folder
from sr3d.data.prepared import MANIFEST, PreparedDataset, PreparedWriter, read_manifest
from sr3d.data.readers.conversion import ConversionOptions
from sr3d.data.rooms.generate import prepare_rooms
from sr3d.data.scans import ScanOptions
from sr3d.errors import Kind
from tests.data.own.making import CHAIR, TABLE, turn_x, write_boxes, write_folder, write_scan
from tests.data.scans.making import room
from tests.refusals import refused, refuses

KINDS = (".ply", ".pcd", ".npy", ".npz", ".bin", ".obj", ".glb", ".las")


def prepare(raw: Path, out: Path, **told: Any) -> Path:
    """Split 0.5; what is told of scans as `scan_options`, and the rest of labels."""
    more = {
        name: told.pop(name) for name in ("scan_options", "append", "how", "scenes") if name in told
    }
    prepare_folder(raw, out, label_options=LabelOptions(**{"val": 0.5, **told}), **more)
    return out


def scenes(folder: Path) -> dict[str, Any]:
    splits = read_manifest(folder).splits
    return {scene.id: scene for split in splits for scene in PreparedDataset(folder, split)}


def boxes_of(folder: Path, scene: str) -> list[list[float]]:
    found: list[list[float]] = scenes(folder)[scene].boxes.tensor.numpy().round(4).tolist()
    return found


def test_scans_of_every_kind_become_scenes_with_their_boxes(tmp_path: Path) -> None:
    for i, kind in enumerate(KINDS):
        write_scan(tmp_path / "raw" / f"scan{i}{kind}", count=4000)
        # glTF's y is up by its rules; boxes are in the file's own frame.
        gltf = kind == ".glb"
        center = [0.5, 0.5, -0.25] if gltf else [0.5, 0.25, 0.5]
        write_boxes(tmp_path / "raw" / f"scan{i}.json", {**CHAIR, "center": center})
    out = prepare(tmp_path / "raw", tmp_path / "out")
    manifest = read_manifest(out)
    assert (manifest.dataset, manifest.classes, manifest.rotated) == ("own", ["chair"], False)
    points, _ = room(3)
    found = scenes(out)
    assert sorted(found) == [f"scan{i}" for i in range(len(KINDS))]
    for scene in found.values():
        assert scene.boxes.tensor.tolist() == [pytest.approx([0.5, 0.25, 0.5, 0.5, 0.75, 1, 0])]
        assert np.abs(scene.points.numpy() - points).max() < 2e-4


def test_the_unit_is_of_scans_and_boxes_together_and_a_mixture_is_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for i in range(3):
        write_scan(raw / f"scan{i}.ply", seed=3, scale=1000)
        box = {**CHAIR, "center": [500, 250, 500], "size": [500, 750, 1000]}
        write_boxes(raw / f"scan{i}.ply.json", box)
    out = prepare(raw, tmp_path / "out")  # found
    assert boxes_of(out, "scan0") == [pytest.approx([0.5, 0.25, 0.5, 0.5, 0.75, 1, 0])]
    assert {"raw", "mm"} <= set(read_manifest(out).source.split())
    told = prepare(raw, tmp_path / "told", scan_options=ScanOptions(unit="cm"))
    assert boxes_of(told, "scan0") == [pytest.approx([5, 2.5, 5, 5, 7.5, 10, 0])]
    write_scan(raw / "scan2.ply", seed=3)
    with refuses(Kind.CONFLICT, file="scan2.ply"):
        prepare(raw, tmp_path / "mixed")
    assert not (tmp_path / "mixed" / MANIFEST).exists()


def test_an_up_axis_that_is_told_turns_scans_and_boxes_together(tmp_path: Path) -> None:
    points, colors = room(3, points=1500)
    lying = np.concatenate([points @ turn_x(-np.pi / 2).T, colors], axis=1)  # z up to y up
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "raw" / "a.npy", lying)
    # Along y it is 1 m high; about the up-axis it has a yaw.
    center = (turn_x(-np.pi / 2) @ [0.5, 0.25, 0.5]).tolist()
    write_boxes(tmp_path / "raw" / "a.json", {**CHAIR, "center": center, "yaw": 0.3})
    out = prepare(tmp_path / "raw", tmp_path / "out", scan_options=ScanOptions(up="y"))
    assert boxes_of(out, "a") == [pytest.approx([0.5, 0.25, 0.5, 0.5, 0.75, 1, 0.3])]
    assert read_manifest(out).rotated


def test_a_set_is_rotated_if_any_box_has_a_yaw_or_as_told(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", 3)
    write_boxes(raw / "scan1.ply.json", {**CHAIR, "yaw": 0.5})
    assert read_manifest(prepare(raw, tmp_path / "found")).rotated
    aligned = prepare(raw, tmp_path / "aligned", rotated=False)
    assert not read_manifest(aligned).rotated
    width = 0.5 * np.cos(0.5) + 0.75 * np.sin(0.5)
    assert boxes_of(aligned, "scan1")[0][3] == pytest.approx(width, abs=1e-4)
    assert "rotated False" in read_manifest(aligned).labels
    (raw / "scan1.ply.json").unlink()
    write_boxes(raw / "scan1.ply.json", CHAIR)
    assert not read_manifest(prepare(raw, tmp_path / "none")).rotated
    assert read_manifest(prepare(raw, tmp_path / "told", rotated=True)).rotated


def test_boxes_that_lean_are_refused_or_made_upright(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", 2)
    leaning = {key: value for key, value in CHAIR.items() if key != "yaw"}
    write_boxes(raw / "scan1.ply.json", {**leaning, "rotation": turn_x(0.3).tolist()})
    with refuses(Kind.VALUE, field="detections[0]", mentions=["scan1.ply.json", "17"]):
        prepare(raw, tmp_path / "out")
    out = prepare(raw, tmp_path / "out", upright=True)
    height = 0.75 * np.sin(0.3) + 1.0 * np.cos(0.3)
    assert boxes_of(out, "scan1")[0][5] == pytest.approx(height, abs=1e-4)


def test_classes_and_their_order_are_as_told(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", 2)
    out = prepare(raw, tmp_path / "out", classes=("table", "lamp", "chair"))
    assert read_manifest(out).classes == ["table", "lamp", "chair"]
    assert scenes(out)["scan0"].labels.tolist() == [2, 0]
    with refuses(mentions=["scan1.ply.json", "detections[1]", "'table'"]):
        prepare(raw, tmp_path / "more", classes=("chair",))
    less = prepare(raw, tmp_path / "less", classes=("chair",), ignore_unknown=True)
    assert scenes(less)["scan0"].labels.tolist() == [0]


def test_missing_labels_are_told_before_anything_is_written_or_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = write_folder(tmp_path / "raw", 4)
    (raw / "scan1.ply.json").unlink()
    (raw / "scan2.ply.json").write_text("{")
    with refuses(mentions=["scan2.ply.json"]):
        prepare(raw, tmp_path / "out")
    write_boxes(raw / "scan2.ply.json")  # a scan without boxes is one
    with refuses(Kind.MISSING, mentions=["scan1.ply.json"]):
        prepare(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (raw / "scan2.ply.json").write_text("{")
    out = prepare(raw, tmp_path / "out", how=ConversionOptions(keep_going=True))
    assert sorted(scenes(out)) == ["scan0", "scan3"]
    assert sorted(read_manifest(out).left_out) == ["scan1", "scan2"]
    assert "scan2.ply.json" in read_manifest(out).left_out["scan2"]
    assert "scan2.ply.json" in caplog.text
    assert any("scan1, scan2" in message for message in caplog.messages)
    assert "published" not in caplog.text


def test_an_interrupted_preparation_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raw = write_folder(tmp_path / "raw", 4)
    whole = prepare(raw, tmp_path / "whole")
    add = PreparedWriter.add
    calls: list[str] = []

    def add_two(self: PreparedWriter, split: str, scene: Any, stamp: str | None = None) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(scene.id)
        add(self, split, scene, stamp)

    with monkeypatch.context() as patched:
        patched.setattr(PreparedWriter, "add", add_two)
        with pytest.raises(KeyboardInterrupt):
            prepare(raw, tmp_path / "out")
    caplog.set_level(logging.INFO)
    out = prepare(raw, tmp_path / "out")
    assert (2, 4) in [record.args for record in caplog.records]
    assert read_manifest(out).digest() == read_manifest(whole).digest()


def test_a_changed_texture_or_camera_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene is taken over from an earlier preparation if nothing that it depends on changed."""
    raw, out = write_folder(tmp_path / "set/raw", 3), tmp_path / "out"
    prepare(raw, out)
    added: list[str] = []
    add = PreparedWriter.add

    def counted(self: PreparedWriter, split: str, scene: Any, stamp: str | None = None) -> None:
        added.append(scene.id)
        add(self, split, scene, stamp)

    monkeypatch.setattr(PreparedWriter, "add", counted)
    scans = sorted({path.parent for path in raw.rglob("*.ply")})
    for companion in (scans[0] / "room.mtl", scans[0].parent / "intrinsics.json"):
        (out / "manifest.json").unlink()  # as a workflow does before it prepares again
        prepare(raw, out)
        assert added == []
        companion.write_text("{}")
        (out / "manifest.json").unlink()
        prepare(raw, out)
        assert added
        added.clear()


def test_other_options_do_not_go_on_with_what_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raw = write_folder(tmp_path / "raw", 2)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PreparedWriter, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(raw, tmp_path / "out")
    caplog.set_level(logging.INFO)
    for told in (
        {"classes": ("table", "chair")},
        {"upright": True},
        {"scan_options": ScanOptions(unit="m", colors="none")},
        {"points": 100},
    ):
        prepare(raw, tmp_path / "out", **told)
        assert (2, 2) not in [record.args for record in caplog.records]
        (tmp_path / "out" / MANIFEST).unlink()


def test_appended_scans_are_of_the_same_classes_and_boxes(tmp_path: Path) -> None:
    out = prepare(write_folder(tmp_path / "raw", 3), tmp_path / "out")
    write_scan(tmp_path / "more" / "new.ply", seed=9)
    write_boxes(tmp_path / "more" / "new.json", TABLE)
    prepare(tmp_path / "more", out, append=True, val=0)
    assert scenes(out)["new"].labels.tolist() == [1]  # as of chair and table
    write_boxes(tmp_path / "more" / "new.json", {**CHAIR, "class": "lamp"})
    with refuses(mentions=["detections[0]", "'lamp'"]):
        prepare(tmp_path / "more", out, append=True)
    write_boxes(tmp_path / "more" / "new.json", {**CHAIR, "yaw": 0.4})
    with refuses(Kind.CONFLICT, field="detections[0]"):
        prepare(tmp_path / "more", out, append=True)


def test_names_become_ids_and_those_that_would_be_one_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for name in ("flat 1/living room.ply", "-a.ply"):
        write_scan(raw / name)
        write_boxes(raw / f"{name}.json", CHAIR)
    assert sorted(scenes(prepare(raw, tmp_path / "out"))) == ["_-a", "flat_1_living_room"]
    write_scan(raw / "-a.pcd")
    with refuses(Kind.CONFLICT, mentions=["a.pcd", "a.ply", "_-a"]):
        prepare(raw, tmp_path / "out")


def test_points_are_drawn_once_and_always_the_same(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", 2)
    one, other = (scenes(prepare(raw, tmp_path / name, points=700)) for name in ("a", "b"))
    assert len(one["scan0"]) == 700
    assert torch.equal(one["scan0"].points, other["scan0"].points)
    with refuses(Kind.VALUE, field="--points -1"):
        LabelOptions(points=-1)


def test_boxes_beside_their_scan_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = write_folder(tmp_path / "raw", 2)
    write_boxes(raw / "scan1.ply.json", {**CHAIR, "center": [50, 0, 0]})
    prepare(raw, tmp_path / "out")
    assert "1 scans (scan1)" in caplog.text


def test_a_prepared_set_comes_back_from_its_export(tmp_path: Path) -> None:
    for rotated in (False, True):
        data, out = tmp_path / f"rooms{rotated}", tmp_path / f"back{rotated}"
        prepare_rooms(data, train=3, val=2, seed=0, rotated=rotated, points=1500)
        raw = tmp_path / f"raw{rotated}"
        assert export_folder(data, raw) == 5
        assert main(
            ["prepare", "folder", "--raw", str(raw), "--out", str(out), "--up", "z", "--unit", "m",
             "--classes", str(raw / "classes.txt")]
        ) == 0  # fmt: skip
        before, after = read_manifest(data), read_manifest(out)
        assert (after.splits, after.classes) == (before.splits, before.classes)
        assert after.rotated is rotated
        for name, scene in scenes(data).items():
            found = scenes(out)[name]
            assert torch.equal(found.points, scene.points)
            assert torch.equal(found.labels, scene.labels)
            assert (found.boxes.corners().sum(1) - scene.boxes.corners().sum(1)).abs().max() < 1e-4
            assert (found.colors - scene.colors).abs().max() < 0.003


def test_the_command_takes_detections_that_were_mended_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write_folder(tmp_path / "raw", 2)
    for i in range(2):
        (raw / f"scan{i}.ply.json").unlink()
    assert main(["detect", str(raw), "--out", str(tmp_path / "found"), "--score-thr", "0"]) == 0
    for path in (tmp_path / "found").iterdir():
        content = json.loads(path.read_text())
        content["detections"] = [{**content["detections"][0], "class": "sofa", "yaw": 0.25}]
        path.write_text(json.dumps(content))
    out = tmp_path / "out"
    command = ["prepare", "folder", "--raw", str(raw), "--labels", str(tmp_path / "found")]
    assert main([*command, "--out", str(out), "--val", "0.5", "--keep-going"]) == 0
    assert read_manifest(out).classes == ["sofa"]
    assert boxes_of(out, "scan0")[0][6] == pytest.approx(0.25)
    assert "train: 1 scenes, 1 boxes" in capsys.readouterr().out
    error = refused([*command, "--out", str(out), "--boxes", "kitti"])
    assert (error.kind, error.field) == (Kind.UNKNOWN, "--boxes kitti")
    assert "sr3d, " in error.problem
