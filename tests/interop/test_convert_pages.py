"""The code of the pages on converting, exporting and deploying runs as it stands."""

import re
from pathlib import Path

import pytest

import sr3d
from sr3d.cli import main
from sr3d.data.rooms.generate import generate_room
from tests.shared_data import ROOT


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)


def test_convert_and_deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "sr3d_rooms", "--out", "model.safetensors"]) == 0
    room = generate_room(3)
    names = {"sr3d": sr3d, "points": room.points, "colors": room.colors}
    for page in ("convert.md", "deploy.md"):
        (code,) = blocks(page)
        exec(compile(code, page, "exec"), names)
    found, fast = names["names"], names["fast"]
    assert set(found) <= set(sr3d.load("model.safetensors").classes)  # type: ignore[call-overload]
    assert len(fast.detect(room.points, room.colors).scores) == len(found)  # type: ignore[attr-defined,arg-type]


@pytest.mark.slow  # traces the detector
def test_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    *exporting, onnx = blocks("export.md")
    for code in exporting:
        exec(compile(code, "export.md", "exec"), names)
    found = sr3d.load("sr3d_rooms").detect(names["scans"][0].points, names["scans"][0].colors)  # type: ignore[index]
    assert len(names["boxes"]) == len(found.boxes) > 5  # type: ignore[arg-type]
    compile(onnx, "export.md", "exec")  # runs in test_exporting, where onnx is installed


def test_the_container_copies_what_there_is() -> None:
    text = (ROOT / "envs" / "Containerfile").read_text()
    copied = [
        word for line in re.findall(r"^COPY (?!--)(.*)$", text, re.M) for word in line.split()
    ]
    assert "pyproject.toml" in copied
    assert all((ROOT / name).exists() for name in copied)
