"""The one way in which tests read real scans and reference outputs of other implementations.

Both stand under licences that forbid copying them into the project, so most people do not have
them: a test that asks for one skips with the reason. `SR3D_SHARED` names the folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SR3D_SHARED", ROOT.parent / "shared"))


def shared(name: str) -> Path:
    """Path of a shared file or folder, e.g. `golden/tr3d_minkowski_scene0000_00.npz`; else skip."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(
            f"needs {name}, which is not part of the project (set SR3D_SHARED to its folder)"
        )
    return path
