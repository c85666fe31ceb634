"""Every detector against what its original computed on real scans, array by array.

`SR3D_GOLDEN` names the folder of the golden files. They are not part of the project.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.detectors.golden import (
    brnet,
    cagroup3d,
    dest,
    detr3d,
    dlla,
    fcaf3d,
    groupfree,
    gsdn,
    mlcvnet,
    rbgnet,
    spgroup3d,
    tr3d,
    vdetr,
    votenet,
)
from tests.detectors.golden.comparing import Comparison, Golden
from tests.shared_data import SHARED

FOLDER = Path(os.environ.get("SR3D_GOLDEN", SHARED / "golden"))
FILES = sorted(FOLDER.glob("*.npz"))


class Adapter(Protocol):
    """A module of `tests.detectors.golden`, see there."""

    @property
    def INPUTS(self) -> Mapping[str, str]: ...

    def comparisons(self, golden: Golden, folder: Path) -> Iterator[Comparison]: ...


ADAPTERS: dict[str, Adapter] = {
    "3detr": detr3d,
    "brnet": brnet,
    "cagroup3d": cagroup3d,
    "dest": dest,
    "dlla": dlla,
    "fcaf3d": fcaf3d,
    "groupfree": groupfree,
    "gsdn": gsdn,
    "mlcvnet": mlcvnet,
    "rbgnet": rbgnet,
    "spgroup3d": spgroup3d,
    "tr3d": tr3d,
    "vdetr": vdetr,
    "votenet": votenet,
}


@pytest.mark.skipif(bool(FILES), reason="covered by the test of each file")
def test_golden_files_are_there() -> None:
    pytest.skip(f"no golden files in {FOLDER} (set SR3D_GOLDEN to their folder)")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path, tmp_path: Path) -> None:
    golden = Golden(path)
    adapter = ADAPTERS.get(golden.family)
    if adapter is None:
        pytest.skip(f"{golden.family}: not in this version")
    compared = list(adapter.comparisons(golden, tmp_path))
    problems = [problem for problem in (each.problem() for each in compared) if problem]
    assert not problems, "\n".join(problems)
    covered = {each.key for each in compared} | {*adapter.INPUTS}
    assert {*golden.arrays} - covered == set()
