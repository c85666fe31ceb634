"""A name has one meaning: no class of the core shares its name with another class."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import sr3d

PACKAGE = Path(sr3d.__file__).parent
CORE = {
    "cli", "runs", "train", "evaluate", "deploy", "detectors", "matching", "losses", "geometry",
    "sparse", "interop",
}  # fmt: skip


def classes() -> dict[str, list[str]]:
    """Name of each class of the package to the modules that define it."""
    found = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path.relative_to(PACKAGE).as_posix())
    return found


def test_no_class_of_the_core_shares_its_name() -> None:
    several = {
        name: places
        for name, places in classes().items()
        if len(places) > 1 and any(place.split("/")[0] in CORE for place in places)
    }
    assert several == {}
