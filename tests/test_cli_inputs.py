"""Verbs check their paths before they import torch. One process tries all wrong commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

SCRIPT = """
import json, sys
from sr3d.cli import main
from sr3d.errors import InputError
for words in json.loads(sys.stdin.read()):
    try:
        error, fields = None, main([*words, "--debug"])
    except InputError as error:
        fields = [error.kind, error.field, error.file and str(error.file)]
    print("found", json.dumps([fields, "torch" in sys.modules]))
"""

EVALUATE = "evaluate --dataset scannet --ground-truth"
CASES = [
    ("detect none.ply", "missing", None, "none.ply"),
    ("detect empty", "empty", None, "empty"),
    ("detect text.e57", "unreadable", None, "text.e57"),
    ("detect text.doc", "unreadable", None, "text.doc"),
    ("detect", "missing", "SCAN", None),
    ("detect scan.npy --demo", "conflict", "--demo", None),
    ("detect scan.npy --model none", "missing", "--model", "none"),
    ("detect scan.npy --model empty", "empty", "--model", "empty"),
    ("detect scan.npy --model text.doc", "unreadable", "--model", "text.doc"),
    ("detect scan.npy --model sr3d", "empty", "--model", "sr3d"),
    ("detect scan.npy --dataset scanet", "unknown", "--dataset", None),
    ("detect scan.npy --device tpu", "value", "--device", None),
    ("detect scan.npy --compile=fp8", "value", "--compile", None),
    ("detect scan.npy --score-thr 2", "value", "--score-thr", None),
    ("detect scan.npy --out text.doc/out", "unwritable", "--out", "text.doc/out"),
    ("detect scan.npy --view text.doc/{scan}.html", "unwritable", "--view", "text.doc"),
    ("detect scan.npy --boxes b.stl", "value", "--boxes", "b.stl"),
    ("detekt scan.npy", "unknown", "VERB", None),
    (f"{EVALUATE} none.npz --detections scan.npy", "missing", "--ground-truth", "none.npz"),
    (f"{EVALUATE} boxes.npz --detections none.npz", "missing", "--detections", "none.npz"),
    (f"{EVALUATE} empty --detections none.npz", "empty", "--ground-truth", "empty"),
    (f"{EVALUATE} text.doc --detections none.npz", "unreadable", "--ground-truth", "text.doc"),
    ("prepare mmdet3d --root none --out out", "missing", "--root", "none"),
    ("prepare scannet --raw none --out out", "missing", "--raw", "none"),
    ("prepare folder --raw empty --out text.doc/out", "unwritable", "--out", "text.doc/out"),
    ("report --tables none.yaml --out out", "missing", "--tables", "none.yaml"),
    ("summarise none --out summary.json", "missing", "DIR", "none"),
    ("benchmark --run none", "missing", "--run", "none"),
    ("benchmark --data empty", "empty", "--data", "empty"),
    ("benchmark --scan none.ply", "missing", "--scan", "none.ply"),
    ("benchmark --scan text.doc", "unreadable", None, "text.doc"),
    ("benchmark --json text.doc/out.json", "unwritable", "--json", "text.doc"),
    ("benchmark --batch 2", "conflict", "--batch", None),
    ("export mmdet3d --data none --out out", "missing", "--data", "none"),
    ("export folder --data empty --out out", "empty", "--data", "empty"),
    ("inspect data none", "missing", "DIR", "none"),
    ("train --dataset scannet --data none --out out", "missing", "--data", "none"),
    ("test --run none --data none --out out", "missing", "--run", "none"),
    ("convert none.pth --out m.safetensors", "missing", "SOURCE", "none.pth"),
    ("convert text.doc --out m.safetensors", "unreadable", "SOURCE", "text.doc"),
    ("convert none.pth --out m.pth", "value", "--out", "m.pth"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Each command's error fields, and whether torch was imported until then."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "empty").mkdir()
    for name in ("text.doc", "text.e57"):
        (folder / name).write_text("text")
    (folder / "boxes.npz").touch()
    (folder / "scan.npy").write_bytes(b"\x93NUMPY\x01\x00")
    before = sorted(folder.iterdir())
    commands = [command.split() for command, *_ in CASES]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line[6:] for line in done.stdout.splitlines() if line.startswith("found ")]
    yield {case[0]: json.loads(line) for case, line in zip(CASES, lines, strict=True)}
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(("command", "kind", "field", "file"), CASES, ids=[c[0] for c in CASES])
def test_wrong_input_is_refused_before_torch_is_imported(
    outcomes: dict[str, Any], command: str, kind: str, field: str | None, file: str | None
) -> None:
    fields, torch_imported = outcomes[command]
    assert fields == [kind, field, file]
    assert not torch_imported
