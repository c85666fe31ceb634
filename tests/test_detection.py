"""`sr3d detect`: from scans to files of boxes, in the scan's own frame; and what it refuses."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plyfile import PlyData

import sr3d.cli.detecting_model as choosing
from sr3d.cli import main
from sr3d.data.scans import Frame, Scan, ScanOptions, read_scan
from sr3d.data.scans.frame import UNITS, turn_upright
from sr3d.deploy.detection import (
    SCHEMA,
    ModelFacts,
    ScanDetections,
    describe,
    detect_files,
    detect_in_scan,
)
from sr3d.detectors.configuration import config_from_dict
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.errors import InputError, Kind
from sr3d.runs.pretrained import PRETRAINED
from sr3d.runs.record import read_run
from sr3d.study.report import viewer
from tests.data.scans.making import room, write_any, write_ply
from tests.detectors.thin import thin_model
from tests.refusals import refused, refuses

FACTS = ModelFacts("thin", "synthetic", "random", "0" * 16)


@pytest.fixture(scope="module")
def thin() -> TR3D:
    return thin_model("synthetic_rotated")


@pytest.fixture
def thin_cli(thin: TR3D, monkeypatch: pytest.MonkeyPatch) -> TR3D:
    """The command uses the thin model, whatever its --model is."""
    monkeypatch.setattr(choosing, "choose_model", lambda args: (thin, FACTS))
    return thin


@pytest.fixture
def grounded_cli(monkeypatch: pytest.MonkeyPatch) -> TR3D:
    """The command uses a thin model of a data set whose floors lie at zero."""
    model = thin_model("scannet")
    assert model.dataset.floor_at_zero
    monkeypatch.setattr(choosing, "choose_model", lambda args: (model, FACTS))
    return model


def outcome(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_a_scan_gives_json_boxes_and_a_page(
    thin_cli: TR3D, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points, colors = room()
    write_any(tmp_path / "scan.npz", points, colors)
    out, boxes, view = tmp_path / "out", tmp_path / "boxes.ply", tmp_path / "view.html"
    words = [str(tmp_path / "scan.npz"), "--out", str(out), "--score-thr", "0.2"]
    assert main(["detect", *words]) == 0
    distinct = outcome(out / "scan.npz.json")["detections"]
    outputs = ["--boxes", str(boxes), "--view", str(view), "--keep-duplicates"]
    assert main(["detect", *words, *outputs]) == 0

    found = outcome(out / "scan.npz.json")
    assert len(distinct) < len(found["detections"])
    assert all(box in found["detections"] for box in distinct)
    assert distinct[0] == found["detections"][0]
    assert (found["schema"], found["version"], found["score_thr"]) == (SCHEMA, 1, 0.2)
    assert found["file"] == str(tmp_path / "scan.npz")
    assert found["points"] == len(points)
    assert found["model"]["weights"] == "random"
    direct = thin_cli.detect(points, colors / np.float32(255))
    scores = [box["score"] for box in found["detections"]]
    assert scores == sorted(direct.scores[direct.scores >= 0.2].tolist(), reverse=True)
    assert len(scores) > 1
    best = found["detections"][0]
    row = int(direct.scores.argmax())
    assert best["class"] == thin_cli.dataset.classes[direct.labels[row]]
    assert np.allclose([*best["center"], *best["size"], best["yaw"]], direct.boxes[row], atol=1e-5)
    assert len(PlyData.read(boxes)["vertex"]) == 96 * len(scores)
    assert "<html" in view.read_text()
    said = capsys.readouterr().out
    assert f"scan.npz: {len(scores)} boxes" in said
    assert "up z: " in said
    assert "unit m: " in said
    assert "colours 0-255: " in said


@pytest.mark.parametrize(("up", "unit"), [("y", "mm"), ("-x", "cm"), ("0.2,-0.9,0.1", "ft")])
def test_boxes_come_back_in_the_frame_of_the_scan(
    thin: TR3D, up: str, unit: str, tmp_path: Path
) -> None:
    points, colors = room()
    turn = turn_upright(up)
    in_file = points.astype(np.float64) @ turn / UNITS[unit]
    np.savez(tmp_path / "a.npz", points=in_file, colors=colors)
    scan = read_scan(tmp_path / "a.npz", ScanOptions(up=up, unit=unit))
    # The network sees what it would see upright, to rounding; one answer for both.
    upright = detect_in_scan(thin, replace(scan, points=points), 0.2)
    found = describe(
        ScanDetections("a", Path("a"), scan, upright, thin.dataset.classes), FACTS, 0.2
    )
    assert found["frame"]["up"] == up
    assert len(found["detections"]) == len(upright.scores) > 0
    for box, row in zip(found["detections"], upright.boxes.double().numpy(), strict=True):
        frame = found["frame"]
        rotation, origin = np.array(frame["rotation"]), np.array(frame["origin"])
        corners = (np.array(box["corners"]) - origin) @ rotation.T * frame["metres_per_unit"]
        cos, sin = np.cos(row[6]), np.sin(row[6])
        for i, corner in enumerate(corners):
            x, y, z = [((i >> k & 1) - 0.5) * row[3 + k] for k in range(3)]
            expected = row[:3] + np.array([x * cos - y * sin, x * sin + y * cos, z])
            assert np.allclose(corner, expected, atol=1e-5)
        assert np.allclose(np.mean(box["corners"], axis=0), box["center"])
        edge = np.array(box["corners"][1]) - box["corners"][0]
        assert np.linalg.norm(edge) == pytest.approx(box["size"][0])
        assert np.allclose(edge / box["size"][0], np.array(box["rotation"])[:, 0], atol=1e-6)


def test_a_folder_goes_on_past_bad_scans_and_names_them(
    thin_cli: TR3D, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points, colors = room(points=1500)
    for name in ("a.ply", "c.pcd", "deep/d.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_any(tmp_path / name, points, colors)
    (tmp_path / "b.ply").write_text("no mesh")
    command = ["detect", str(tmp_path), "--out", str(tmp_path / "out"), "--up", "z"]
    command += ["--boxes", str(tmp_path / "boxes/{scan}.ply")]
    for _ in range(2):  # its own boxes are no scans
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.count(str(tmp_path / "b.ply")) == 2  # its own message, and the summary
        written = sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.rglob("*.json"))
        assert written == ["a.ply.json", "c.pcd.json", "deep/d.npy.json"]
    assert (tmp_path / "boxes/deep/d.npy.ply").is_file()


def test_the_first_of_equal_scans_is_not_changed_by_the_second(thin: TR3D, tmp_path: Path) -> None:
    points, colors = room(points=1500)
    for name in ("a.ply", "b.npz"):
        write_any(tmp_path / name, points, colors)
    found: list[ScanDetections] = []
    scans = [(tmp_path / name, Path(name)) for name in ("a.ply", "b.npz")]
    detect_files(thin, thin.dataset.classes, scans, read_scan, 0.2, found.append)
    assert all(
        torch.equal(one, other)
        for one, other in zip(found[0].detections, found[1].detections, strict=True)
    )


@pytest.mark.parametrize("count", [1, 2, 30])
def test_tiny_scans_are_no_trouble(thin: TR3D, count: int) -> None:
    points = np.random.default_rng(0).random((count, 3)).astype(np.float32)
    assert isinstance(detect_in_scan(thin, Scan(points, None, Frame(), ()), 0.3), Detections)


def test_compiled_gives_the_same_boxes(thin_cli: TR3D, tmp_path: Path) -> None:
    write_any(tmp_path / "a.ply", *room(points=1500))
    found = []
    for more in ([], ["--compile"], ["--compile", "bf16"]):
        assert main(["detect", str(tmp_path / "a.ply"), "--out", str(tmp_path), *more]) == 0
        found.append(outcome(tmp_path / "a.ply.json")["detections"])
    assert len(found[0]) == len(found[1]) > 0
    assert found[2] not in found[:2]  # in half precision
    for one, other in zip(*found[:2], strict=True):
        assert one["class"] == other["class"]
        assert np.allclose(one["corners"], other["corners"], atol=1e-3)


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        (["a.ply"], None),
        (["--compile", "a.ply"], "fp32"),
        (["a.ply", "--compile"], "fp32"),
        (["--compile", "--up", "-y", "a.ply"], "fp32"),
        (["--compile", "fp16", "a.ply"], "fp16"),
        (["a.ply", "--compile=bf16"], "bf16"),
    ],
)
def test_a_scan_is_no_precision(words: list[str], precision: str | None) -> None:
    from sr3d.cli import build_parser

    args = build_parser().parse_args(["detect", *words])
    assert (args.compile, args.scans) == (precision, [Path("a.ply")])


def test_an_unknown_precision_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "a.ply", "--compile=fp8"]) == 2
    assert "'fp8'" in capsys.readouterr().err


def test_the_demo_shows_the_true_boxes_too(
    thin_cli: TR3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers: list[viewer.BoxLayer] = []
    write_viewer = viewer.write_viewer

    def noted(*args: Any, **more: Any) -> None:
        layers.extend(args[4])
        write_viewer(*args, **more)

    monkeypatch.setattr(viewer, "write_viewer", noted)
    monkeypatch.setattr("sr3d.cli.detect._DEMO_POINTS", 2000)
    assert main(["detect", "--demo", "--out", str(tmp_path)]) == 0
    assert not Path(outcome(tmp_path / "demo.json")["file"]).suffix  # it names no file
    assert [layer.scores is None for layer in layers] == [False, True]  # found and true boxes
    page = (tmp_path / "demo.html").read_text()
    assert all(layer.name in page for layer in layers)


@pytest.mark.parametrize("up", ["-y", "-z", "-0.1,0.2,-.9", "-.1,0,1", "x", "0,0,1"])
def test_up_may_begin_with_a_minus(up: str, tmp_path: Path) -> None:
    args = arguments(tmp_path, "--up", up, "--intrinsics", "1", "1", "-2", "-.5")
    assert (args.up, args.intrinsics, len(args.scans)) == (up, [1, 1, -2, -0.5], 1)


def arguments(tmp_path: Path, *more: str) -> Any:
    """What the command would hand to `choose_model`."""
    from sr3d.cli import build_parser

    return build_parser().parse_args(["detect", str(tmp_path / "a.ply"), *more])


def test_a_training_and_its_weights_tell_everything(tmp_path: Path) -> None:
    run = PRETRAINED / "sr3d_rooms"
    record, weights = read_run(run), str(run / "model.safetensors")
    model, facts = choosing.choose_model(arguments(tmp_path, "--model", str(run)))
    digest = config_from_dict(record.config).digest()
    assert facts == ModelFacts(record.key, "synthetic", weights, digest)
    assert not model.training
    alone, facts = choosing.choose_model(arguments(tmp_path, "--model", weights))
    assert (facts.name, facts.dataset, facts.weights) == ("tr3d", "synthetic", weights)
    assert torch.equal(alone.state_dict()["neck.up_block_1.0.kernel"],
                       model.state_dict()["neck.up_block_1.0.kernel"])  # fmt: skip
    with pytest.raises(InputError) as caught:
        choosing.choose_model(arguments(tmp_path, "--model", str(run), "--dataset", "scannet"))
    assert (caught.value.file, caught.value.field) == (run, "--dataset")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("a.ply --columns 2", "--columns"),
        ("a.ply --up q", "--up q"),
        ("a.ply --unit km", "--unit km"),
        ("a.ply --boxes a.ply", "--boxes"),
        ("a.ply b.ply --view v.html", "--view"),
    ],
)
def test_bad_commands_are_refused_before_anything_runs(
    words: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.ply", "b.ply"):
        write_ply(tmp_path / name, room(points=300)[0])
    before = (tmp_path / "a.ply").read_bytes()
    assert part in str(refused(["detect", *words.split()]))
    assert (tmp_path / "a.ply").read_bytes() == before
    assert not (tmp_path / "detections").exists()


@pytest.mark.parametrize("height", [0.64, -0.64, 0.05])
def test_a_floor_that_is_given_is_not_searched_for(
    grounded_cli: TR3D, height: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes of a moved scan with its --floor are the boxes of the scan with --floor 0, moved."""
    points, colors = room()
    monkeypatch.chdir(tmp_path)
    found = {}
    for name, moved in (("there", 0.0), ("moved", height)):
        # Sums of steps of 2^-10 m are exact, so that both scans fall into the same voxels.
        cloud = np.round(points * 1024) / 1024
        shift = np.array([0, 0, round(moved * 1024) / 1024])
        write_any(tmp_path / f"{name}.npz", (cloud + shift).astype(np.float32), colors)
        words = [f"{name}.npz", "--up", "z", "--unit", "m", "--walls", "0", "--score-thr", "0.2"]
        assert main(["detect", *words, "--floor", str(shift[2])]) == 0
        found[name] = outcome(tmp_path / "detections" / f"{name}.npz.json")["detections"]
    assert len(found["there"]) > 0
    for one, other in zip(found["there"], found["moved"], strict=True):
        assert one["class"] == other["class"]
        assert np.allclose(np.array(one["center"]) + shift, other["center"], atol=1e-4)
        assert np.allclose(one["size"], other["size"], atol=1e-4)


def test_floor_zero_hands_the_model_the_scan_as_it_lies(
    grounded_cli: TR3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan far from the floor stays there: neither the command nor the model moves it."""
    points, colors = room()
    lifted = points + np.array([0, 0, -0.64], np.float32)
    write_any(tmp_path / "a.npz", lifted, colors)
    words = [str(tmp_path / "a.npz"), "--up", "z", "--unit", "m", "--walls", "0", "--floor", "0"]
    assert main(["detect", *words, "--out", str(tmp_path), "--keep-duplicates"]) == 0
    scores = [box["score"] for box in outcome(tmp_path / "a.npz.json")["detections"]]
    as_it_lies = grounded_cli.detect(lifted, colors / np.float32(255), floor=0.0).scores
    assert scores == sorted(as_it_lies[as_it_lies >= 0.3].tolist(), reverse=True)


def test_a_scan_alone_fails_at_once(thin: TR3D, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_text("x")
    with refuses(Kind.UNREADABLE, file="a.npy"):
        detect_files(thin, (), [(tmp_path / "a.npy", Path("a.npy"))], read_scan, 0.3, print)


def test_the_python_of_the_documentation_runs(
    thin: TR3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[1] / "docs" / "detect.md").read_text()
    section = text.split("## In Python")[1].split("##")[0].splitlines()
    block = "\n".join(line for line in section if line.startswith("    ") or not line)
    write_any(tmp_path / "kitchen.ply", *room())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sr3d.api.load", lambda name: thin)
    names: dict[str, Any] = {}
    exec(textwrap.dedent(block), names)
    assert names["scan"].frame.up == "y"
    assert len(names["boxes"].corners) == len(names["found"].scores) > 0
