"""Copy the files of the Snakemake workflow from the package to a folder where `snakemake` runs."""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from pathlib import Path

from sr3d.errors import InputError, Kind

_PACKAGE = Path(__file__).resolve().parents[1]
_BUNDLED = _PACKAGE / "_workflow"  # in an installed wheel. In a checkout they lie beside sr3d/
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc")


def copy_workflow(folder: Path) -> None:
    """Copy the workflow into a new or an empty folder, completely or not at all.

    Raises:
        InputError: the folder is not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        remedy = "Name a new folder for the workflow."
        raise InputError("is not empty", file=folder, kind=Kind.CONFLICT, remedy=remedy)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            made = Path(temporary) / "workflow"
            made.mkdir()
            for part in _parts():
                if part.is_dir():
                    shutil.copytree(part, made / part.name, ignore=_NOT_COPIED)
                else:
                    shutil.copy(part, made)
            if folder.exists():
                folder.rmdir()
            made.rename(folder)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror or error})",
            file=folder,
            kind=Kind.UNWRITABLE,
            remedy="Name another folder.",
        ) from None


def _parts() -> list[Path]:
    """The files and folders of the workflow. A checkout lists them in pyproject.toml."""
    if _BUNDLED.is_dir():
        return list(_BUNDLED.iterdir())
    root = _PACKAGE.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    hooks = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    return [root / name for name in hooks["custom"]["parts"]]
