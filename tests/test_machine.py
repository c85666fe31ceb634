"""The digest of the code that decides a run's numbers covers all of that code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sr3d
from sr3d.runs.files import code_digest
from sr3d.runs.machine import _COMPUTING, code_version

PACKAGE = Path(sr3d.__file__).parent

# What trainings and tests import without getting a number from it.
WITHOUT_A_PART_IN_NUMBERS = {
    "__init__.py": "names what the package offers",
    "_version.py": "a name",
    "data/__init__.py": "empty",
    "data/box_files.py": "reads boxes for `sr3d evaluate` and reports",
    "data/mean_sizes.py": "fills in the configuration, which has a digest",
    "data/mmdet3d": "reads another program's files",
    "data/prepared/__init__.py": "names what it offers",
    "data/prepared/journal.py": "belongs to the preparation",
    "data/prepared/manifest.py": "the data have a digest",
    "data/prepared/writing.py": "the data have a digest",
    "data/safe_pickle.py": "reads boxes of other programs",
    "data/scannet_files.py": "reads original scans",
    "data/scene_names.py": "matches names for `sr3d evaluate` and reports",
    "data/torch_files.py": "reads weights of other programs",
    "errors.py": "words",
    "runs/__init__.py": "empty",
    "runs/devices.py": "names",
    "runs/files.py": "carries bytes, with checksums",
    "runs/machine.py": "facts for the record",
    "presets.py": "fills in the configuration, which has a digest",
    "runs/progress.py": "words",
    "validation.py": "checks the configuration, which has a digest",
    "value_types.py": "limits of values of the configuration, which has a digest",
    "settings.py": "fills in the configuration, which has a digest",
}


def covered(name: str, places: object) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)  # type: ignore[attr-defined]


def test_every_imported_file_is_in_the_digest_or_has_a_reason_not_to_be() -> None:
    script = (
        "import json, sys, sr3d.train.training, sr3d.evaluate.loop\n"
        "named = [m for m in sys.modules if m.partition('.')[0] == 'sr3d']\n"
        "print(json.dumps([sys.modules[m].__file__ for m in named]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    imported = {Path(file).relative_to(PACKAGE).as_posix() for file in json.loads(done.stdout)}
    assert len(imported) > 50
    unknown = {name for name in imported if not covered(name, _COMPUTING)}
    assert {name for name in unknown if not covered(name, WITHOUT_A_PART_IN_NUMBERS)} == set()
    assert all((PACKAGE / place).exists() for place in [*_COMPUTING, *WITHOUT_A_PART_IN_NUMBERS])


def test_the_digest_follows_a_file_of_the_list_and_no_other(tmp_path: Path) -> None:
    for place in _COMPUTING:
        source, copy = PACKAGE / place, tmp_path / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        files = [source] if source.is_file() else source.rglob("*.py")
        for file in files:
            target = tmp_path / file.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    same = code_digest(tmp_path, _COMPUTING)
    assert same == code_version()["digest"]
    (tmp_path / "runs" / "progress.py").write_text("words = 1")
    assert code_digest(tmp_path, _COMPUTING) == same
    for place in ("train/metrics_log.py", "data/datasets.py", "losses/ras.py"):
        (tmp_path / place).write_bytes((tmp_path / place).read_bytes() + b"\nx = 1\n")
        assert code_digest(tmp_path, _COMPUTING) != same
        same = code_digest(tmp_path, _COMPUTING)


def test_a_part_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    with pytest.raises(FileNotFoundError):
        code_digest(tmp_path, ("a.py", "b.py"))
