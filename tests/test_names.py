"""A name has one meaning: no two classes of the package and the workflow share one."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def classes() -> dict[str, list[str]]:
    """Name of each class to the modules that define it."""
    found = defaultdict(list)
    for folder in ("sr3d", "workflow"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(path.relative_to(ROOT).as_posix())
    return found


def test_no_two_classes_share_a_name() -> None:
    found = classes()
    assert len(found) > 300
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
