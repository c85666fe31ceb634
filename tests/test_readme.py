"""The README's lines of Python do what they say, as they are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d.deploy.compiled import CompiledDetector
from sr3d.runs.record import read_run

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
VERBS = sorted(set(re.findall(r"^    sr3d (\w+)", README, re.MULTILINE)))


def python_block() -> str:
    """The indented lines from `import sr3d` on."""
    [block] = re.findall(r"^ {4}import sr3d\n(?: {4}.*\n)+", README, re.MULTILINE)
    return re.sub(r"(?m)^ {4}", "", block)


@pytest.fixture(scope="module")
def after() -> dict[str, Any]:
    """The names that are there after the README's lines ran on a procedural room."""
    names: dict[str, Any] = {}
    exec(compile(python_block(), "README.md", "exec"), names)
    names["points"] = torch.cat([names["room"].points, names["room"].colors], dim=1)
    return names


def test_the_lines_find_named_boxes(after: dict[str, Any]) -> None:
    boxes, scores, labels = after["boxes"], after["scores"], after["labels"]
    assert boxes.shape == (len(labels), 7)
    assert len(after["names"]) == len(scores) == len(labels)
    sure = [name for name, score in zip(after["names"], scores, strict=True) if score > 0.3]
    assert sure
    assert set(after["names"]) <= set(after["model"].classes)


def test_the_compiled_model_is_the_same_detector(after: dict[str, Any]) -> None:
    assert isinstance(after["fast"], CompiledDetector)
    found = after["fast"].detect(after["points"])
    order, wanted = found.scores.argsort(), after["scores"].argsort()
    assert torch.allclose(found.scores[order], after["scores"][wanted], atol=1e-4)
    assert torch.allclose(found.boxes[order][-5:], after["boxes"][wanted][-5:], atol=1e-3)


def test_raw_outputs_are_those_that_the_readme_names(after: dict[str, Any]) -> None:
    level = after["model"].raw_outputs(after["points"])[0]
    for name in ("coords", "reg", "cls"):
        assert f"`{name}`" in README
        assert len(getattr(level, name)) == len(level.coords)


def test_the_model_of_the_readme_comes_with_the_package(after: dict[str, Any]) -> None:
    record = read_run(Path(__file__).parents[1] / "sr3d/pretrained/sr3d_rooms")
    assert after["model"].dataset.name == record.dataset == "synthetic"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_the_readme_uses_exists(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from sr3d.cli import main

    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    assert f"sr3d {verb}" in capsys.readouterr().out
