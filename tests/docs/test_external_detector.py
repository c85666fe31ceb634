"""The page on detectors of other frameworks: its commands run in their order."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest
import yaml

from sr3d.cli import main
from tests.docs.pages import DOCS, ROOT, blocks
from workflow.checking import check_experiment


def test_every_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "external_detector.md").read_text(encoding="utf-8")
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    monkeypatch.chdir(tmp_path)
    prepare, by_hand = blocks(text, "sh")
    (files,) = blocks(text, "python")
    run(prepare)
    exec(files, {})
    run(by_hand)
    table = Path("results/report/external_synthetic.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert {row["label"] for row in rows} == {"My detector"}
    assert all(row["interval_low"] for row in rows)
    assert Path("results/mlflow.db").is_file()


def test_the_configuration_is_one() -> None:
    (block,) = blocks((DOCS / "external_detector.md").read_text(encoding="utf-8"), "yaml")
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    check_experiment(config | yaml.safe_load(block), "docs/external_detector.md")


def run(commands: str) -> None:
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        assert program == "sr3d"
        assert main(words) == 0, line
