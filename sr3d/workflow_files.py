"""The Snakemake workflow as files: from the package into a folder where `snakemake` runs it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sr3d.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE / "_workflow"  # in an installed wheel; in a checkout the files lie beside sr3d/
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "envs")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc")


def copy_workflow(folder: Path) -> None:
    """Copy the workflow into a new or an empty folder: all of it, or nothing.

    Raises:
        InputError: the folder holds something, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not empty; name a new folder for the workflow")
    source = _BUNDLED if _BUNDLED.is_dir() else _PACKAGE.parent
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            made = Path(temporary) / "workflow"
            made.mkdir()
            for name in PARTS:
                if (source / name).is_dir():
                    shutil.copytree(source / name, made / name, ignore=_NOT_COPIED)
                else:
                    shutil.copy(source / name, made / name)
            if folder.exists():
                folder.rmdir()
            made.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); name another folder"
        ) from None
