"""docs/configuration.md is what its script writes, and says something of every field."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import typing
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from sr3d.config_groups import DATASETS
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import default_config
from tests.docs.pages import DOCS


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = DOCS / "write_configuration.py"
    spec = importlib.util.spec_from_file_location("write_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(script: ModuleType) -> None:
    written = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert written == script.page(), "run: python docs/write_configuration.py"


def test_every_field_has_a_comment(script: ModuleType) -> None:
    silent = [
        f"{family}: {name or 'Config'}.{field}"
        for family in FAMILIES
        for name, group in script.groups(family)
        for field, comment in script.comments_of(group).items()
        if not comment and not dataclasses.is_dataclass(typing.get_type_hints(group)[field])
    ]
    assert not silent, "write a comment beside these fields"


def test_every_key_has_a_row_with_its_default_on_every_data_set(script: ModuleType) -> None:
    lines = script.page().splitlines()
    first = lines[: lines.index("## FCAF3D")]
    rows = {line.split("`")[1]: line for line in first if line.startswith("| `")}
    for key, default in default_config("scannet").flat().items():
        shown = default if isinstance(default, str) else json.dumps(default)
        assert f"| `{shown}` |" in rows[key]
        for dataset in DATASETS:
            value = default_config(dataset).flat()[key]
            assert key == "dataset" or value == default or dataset in rows[key]


@dataclass
class Example:
    """With comments in every place that they may have."""

    beside: int = 1  # one
    # above
    over: tuple[int, ...] = (1, 2)
    none: str = "# no comment"
    several: list[int] = field(default_factory=list)  # at the end


def test_comments_are_found_beside_and_above_their_fields(script: ModuleType) -> None:
    found = {"beside": "one", "over": "above", "none": "", "several": "at the end"}
    assert script.comments_of(Example) == found
