"""What a prepared folder holds: told once, in a file that is written last."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.runs.files import (
    digest,
    read_json,
    sha256,
    with_checksum,
    without_checksum,
    write_json,
)

FORMAT = "sr3d-prepared"
VERSION = 2
MANIFEST = "manifest.json"
AGAIN = "repeat the `sr3d prepare` command, which writes again what differs"


@dataclass(frozen=True)
class Manifest:
    """source: one line on where the scenes come from. labels: which version of the ground truth.

    splits: name to scene ids, in order. scenes: id to {"points": N, "boxes": K, "sha256": of its
    points file}. ground_truth: split to the sha256 of its file. left_out: scenes that could not be
    read, and why. deviations: how the set is not the published one or not whole, in sentences.
    """

    dataset: str
    classes: list[str]
    rotated: bool
    source: str
    splits: dict[str, list[str]]
    scenes: dict[str, dict[str, Any]]
    ground_truth: dict[str, str]
    code_version: str
    labels: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    deviations: list[str] = field(default_factory=list)

    def digest(self) -> str:
        """Identifies the data that a run saw, whichever version of this code prepared it."""
        value = asdict(self)
        data = ("dataset", "classes", "rotated", "splits", "scenes", "ground_truth")
        return digest({name: value[name] for name in data})

    def provenance(self) -> dict[str, Any]:
        """What the record of a run tells of its data."""
        return {
            "dataset": self.dataset,
            "source": self.source,
            "labels": self.labels,
            "deviations": self.deviations,
            "prepared_by": self.code_version,
            "digest": self.digest(),
        }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it, whole or not at all: from then on the folder counts as prepared.

    Its digest is of the data alone, its checksum of the whole manifest.
    """
    head = {"format": FORMAT, "version": VERSION, "digest": manifest.digest()}
    write_json(folder / MANIFEST, with_checksum({**head, **asdict(manifest)}))


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a prepared folder.

    Raises:
        InputError: the folder is not prepared, or by another version.
        DamagedFile: the manifest is damaged or was edited.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `sr3d prepare`")
    value = read_json(path, AGAIN)
    if not isinstance(value, dict):
        raise DamagedFile(f"{path}: not a manifest; {AGAIN}")
    value = without_checksum(value, path, AGAIN)
    kind = value.pop("format", None), value.pop("version", None)
    if kind != (FORMAT, VERSION):
        raise InputError(f"{path}: format {kind[0]} version {kind[1]}; {AGAIN}")
    wanted = value.pop("digest", None)
    try:
        manifest = Manifest(**value)
    except TypeError as error:
        raise InputError(f"{error}; {AGAIN}", file=path, kind=Kind.UNREADABLE) from None
    if manifest.digest() != wanted:
        raise DamagedFile(
            f"damaged or edited, for its digest does not match; {AGAIN}",
            file=path,
            kind=Kind.UNREADABLE,
        )
    return manifest


def verify(folder: str | Path) -> None:
    """Compare every file with its sha256.

    Raises:
        DamagedFile: names the first file that differs.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    expected = {f"points/{s}.npy": facts["sha256"] for s, facts in manifest.scenes.items()}
    expected |= {f"{split}.npz": value for split, value in manifest.ground_truth.items()}
    for name, value in expected.items():
        check_file(folder / name, value)


def check_file(path: Path, expected: str) -> None:
    """Compare a prepared file with its sha256.

    Raises:
        DamagedFile: the file is missing or changed.
    """
    if not path.is_file() or sha256(path) != expected:
        raise DamagedFile(
            f"missing or changed since it was prepared; {AGAIN}", file=path, kind=Kind.UNREADABLE
        )
