"""What docs/concepts.md and docs/reproduce.md say of files, seeds and trainings is so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from sr3d.runs.record import evaluation_seed, train_seed
from sr3d.settings import read_settings
from tests.docs.pages import DOCS, ROOT

CHOSEN = ("scannet", "sunrgbd")


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_concepts", DOCS / "draw_concepts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_small_and_what_the_script_draws(
    drawing: ModuleType, tmp_path: Path
) -> None:
    committed = drawing.PICTURE.read_text(encoding="utf-8")
    drawing.main(tmp_path / "concepts.svg")
    assert len(committed.encode()) < 150_000
    texts = (committed, (tmp_path / "concepts.svg").read_text(encoding="utf-8"))
    committed_words, drawn_words = (re.findall(r"<!-- (.*?) -->", text) for text in texts)
    assert committed_words == drawn_words, "run: python docs/draw_concepts.py"


def test_the_picture_names_files_that_exist_and_arrows_have_two_ends(drawing: ModuleType) -> None:
    for box in drawing.BOXES.values():
        assert (ROOT / box.where).exists(), box.where
    joined = {name for arrow in drawing.ARROWS for name in arrow}
    assert joined <= drawing.BOXES.keys()


def test_the_folders_of_the_concepts_exist() -> None:
    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    table = text.partition("## Which folder does what")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    for row in rows:
        names = re.findall(r"`([^`]+)`", row)
        folder = str(Path(names[0]).parent)  # later names of a row lie beside the first
        for name in names:
            assert (ROOT / name).exists() or (ROOT / folder / name).exists(), name


def test_seeds_are_as_the_concepts_say() -> None:
    assert train_seed(2, 3) == 1_000_000 * 2 + 1_000 * 3
    assert evaluation_seed(2, 3, 4) == train_seed(2, 3) + 1 + 4


def trainings(names: list[str]) -> dict[str, int]:
    """How many trainings tables and figures need on each data set, by the workflow's rules."""
    paper = yaml.safe_load((ROOT / "workflow/tables.yaml").read_text(encoding="utf-8"))
    settings = read_settings()
    tiers = yaml.safe_load((ROOT / "workflow/tiers.yaml").read_text(encoding="utf-8"))
    cited = tiers["paper"]["cited"]
    shown: dict[str, Any] = paper["tables"] | paper["figures"]

    def rows(name: str) -> list[str]:
        if "rows" in shown[name]:
            named = [row["setting"] for row in shown[name]["rows"] if row.get("setting")]
            return [setting for setting in named if setting not in cited]
        if "table" in shown[name]:
            return rows(shown[name]["table"])
        points = [panel["points"].values() for panel in shown[name].get("panels", [])]
        return [*shown[name].get("settings", []), *(s for panel in points for s in panel)]

    needed = {
        (dataset, settings[setting].trained_as)
        for name in names
        for dataset in [d for d in CHOSEN if d in shown[name]["datasets"]] or CHOSEN
        for setting in rows(name)
        if dataset in settings[setting].datasets
    }
    return {dataset: 5 * sum(d == dataset for d, _ in needed) for dataset in CHOSEN}


def test_reproducing_says_how_many_trainings_each_table_needs() -> None:
    text = (DOCS / "reproduce.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    tiers = yaml.safe_load((ROOT / "workflow/tiers.yaml").read_text(encoding="utf-8"))
    assert {name for name, *_ in rows} == {*tiers["paper"]["tables"]}
    for name, *counts in rows:
        assert [*map(int, counts)] == [*trainings([name]).values()], name
    [total] = re.findall(r"^\| all of it \| \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert [*map(int, total)] == [*trainings([name for name, *_ in rows]).values()]
