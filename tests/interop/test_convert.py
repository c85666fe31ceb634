"""`sr3d convert`: from their checkpoints and our trainings to one file, and back."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sr3d
from sr3d.api import Detections
from sr3d.cli import main
from sr3d.data.rooms.generate import generate_room
from sr3d.detectors.configuration import default_config
from sr3d.detectors.weights import read_checkpoint
from sr3d.runs.files import read_json, sha256
from sr3d.runs.pretrained import PRETRAINED
from tests.data.checkpoint_files import save_mmengine
from tests.detectors.golden.tr3d import golden_model
from tests.detectors.published import renamed

ROOMS = PRETRAINED / "sr3d_rooms"
Convert = Callable[..., Path]


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    def run(source: Path, out: str, *more: str) -> Path:
        assert main(["convert", str(source), "--out", str(tmp_path / out), *more]) == 0
        return tmp_path / out

    return run


def found(name: str | Path) -> Detections:
    room = generate_room(7)
    return sr3d.load(name).detect(room.points, room.colors)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_a_training_becomes_one_file_that_needs_nothing_else(
    convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = convert(ROOMS, "model.safetensors")
    told = capsys.readouterr().out
    for fact in ("synthetic", "13", "0.08 m", "16, 24"):
        assert fact in told
    room, file = found("sr3d_rooms"), found(out)
    assert len(room.scores) > 10
    assert all(torch.equal(a, b) for a, b in zip(room, file, strict=True))
    model = sr3d.load(out)
    assert "chair" in model.classes
    assert main(["detect", "--demo", "--model", str(out), "--out", str(tmp_path / "d")]) == 0
    (written,) = [read_json(path) for path in (tmp_path / "d").glob("*.json")]
    assert written["model"]["dataset"] == "synthetic"
    assert written["model"]["weights"] == str(out)


@pytest.mark.parametrize("naming", ["mmdet3d", "samsung"])
def test_there_and_back_is_exact(convert: Convert, naming: str) -> None:
    first = convert(ROOMS, "first.safetensors")
    theirs = convert(first, "theirs.pth", "--to", naming)
    back = convert(theirs, "back.safetensors")
    assert same(dict(read_checkpoint(first).weights), dict(read_checkpoint(back).weights))
    assert read_checkpoint(first).config == read_checkpoint(back).config
    assert sha256(theirs) == sha256(convert(back, "again.pth", "--to", naming))
    names = set(torch.load(theirs, weights_only=True)["state_dict"])
    head = {"mmdet3d": "bbox_head.conv_reg.kernel", "samsung": "head.bbox_conv.kernel"}
    assert head[naming] in names


@pytest.mark.parametrize("zipped", [True, False])
def test_what_mmengine_saves_detects_the_same(
    convert: Convert, zipped: bool, tmp_path: Path
) -> None:
    state = sr3d.load("sr3d_rooms").state_dict()
    classes = sr3d.load("sr3d_rooms").classes
    theirs = renamed(dict(state), "samsung-tr3d", "module.")
    save_mmengine(tmp_path / "epoch_12.pth", theirs, zipped, dataset_meta={"classes": classes})
    out = convert(tmp_path / "epoch_12.pth", "model.safetensors")
    expected = found("sr3d_rooms")
    assert all(torch.equal(a, b) for a, b in zip(expected, found(out), strict=True))


def test_of_unknown_classes_it_is_said_that_their_levels_are_unknown(
    convert: Convert, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    convert(ROOMS, "known.safetensors")
    assert not caplog.messages
    classes = tuple(f"thing{i}" for i in range(13))
    state = renamed(dict(sr3d.load("sr3d_rooms").state_dict()), "mmdet3d-tr3d")
    save_mmengine(tmp_path / "a.pth", state, True, dataset_meta={"classes": classes})
    out = convert(tmp_path / "a.pth", "a.safetensors")
    (warning,) = caplog.messages
    assert "(own.levels)" in warning
    config = read_checkpoint(out).config
    assert config is not None
    assert (config.own.classes, config.own.levels) == (classes, ())
    assert sr3d.load(out).classes == classes


def test_the_golden_weights_convert_to_the_golden_network(
    convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose outputs `test_golden.py` holds against MinkowskiEngine and mmdet3d."""
    state = golden_model().state_dict()
    torch.save({"state_dict": renamed(dict(state), "samsung-tr3d")}, tmp_path / "tr3d_scannet.pth")
    out = convert(tmp_path / "tr3d_scannet.pth", "model.safetensors")
    told = capsys.readouterr().out
    assert "SamsungLabs/tr3d" in told
    assert "262" in told
    model = sr3d.load(out)
    assert same(dict(model.state_dict()), dict(state))
    assert read_checkpoint(out).config == default_config("scannet")
    assert model.config == golden_model().config
    torch.save({"state_dict": renamed(dict(state), "mmdet3d-tr3d")}, tmp_path / "mmdet3d.pth")
    mmdet3d = convert(tmp_path / "mmdet3d.pth", "other.safetensors")
    assert same(dict(read_checkpoint(mmdet3d).weights), dict(state))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("absent.pth --out m.safetensors", "absent.pth"),
        ("text.pth --out m.safetensors", "text.pth"),
        ("text.pth --out m.pth", "--to sr3d"),
        ("text.pth --out m.safetensors --to mmdet3d", "--to mmdet3d"),
        ("tr3d --out m.safetensors", "SOURCE"),
        ("w.safetensors --out w.safetensors", "w.safetensors"),
        ("w.safetensors --out m.safetensors --dataset scannet", "--dataset"),
        ("w.safetensors --out m.safetensors --model fcaf3d", "--model"),
        ("w.safetensors --out m.safetensors --set model.widths=3", "model.widths"),
        ("w.safetensors --out m.safetensors --set model.planes=[1,2,3,4]", "w.safetensors"),
    ],
)
def test_bad_commands_get_one_sentence(
    words: str, message: str, convert: Convert, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    convert(ROOMS, "w.safetensors")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pth").write_text("hello")
    before = sha256(tmp_path / "w.safetensors")
    assert main(["convert", *words.split()]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.pth", "w.safetensors"]
    assert sha256(tmp_path / "w.safetensors") == before


def test_what_computed_a_training_is_not_asked_of_who_loads_it(convert: Convert) -> None:
    out = convert(ROOMS, "m.safetensors", "--set", "test.score_thr=0.2")
    config = read_checkpoint(out).config
    assert config is not None
    assert (config.model.engine, config.test.score_thr) == ("native", 0.2)
