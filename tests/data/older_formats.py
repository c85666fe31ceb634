"""Prepared folders as earlier versions wrote them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sr3d.data.prepared import MANIFEST
from sr3d.runs.files import with_checksum, without_checksum


def as_version_2(folder: Path, to: Path | None = None) -> Path:
    """The folder, or a copy of it, without what format version 3 added."""
    if to is not None:
        folder = Path(shutil.copytree(folder, to))
    path = folder / MANIFEST
    value = without_checksum(json.loads(path.read_text()), path, "")
    for facts in value["scenes"].values():
        facts.pop("instances", None)
    del value["mean_sizes"]
    path.write_text(json.dumps(with_checksum({**value, "version": 2})))
    shutil.rmtree(folder / "instances", ignore_errors=True)
    return folder
