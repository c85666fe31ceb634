"""The manifest: what a prepared folder contains. It is written last."""

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
VERSION = 3  # 2 had neither instances nor mean sizes
READABLE = (2, VERSION)
MANIFEST = "manifest.json"
OPTIONAL = ("instances", "superpoints")  # files of a scene that it may lack
REMEDY = "Repeat the `sr3d prepare` command, which writes again what differs."


@dataclass(frozen=True)
class Manifest:
    """source: one line on where the scenes come from. labels: which version of the ground truth.

    splits: name to scene ids, in order. scenes: id to {"points": N, "boxes": K, "sha256": of its
    points file, "instances" and "superpoints": sha256 of these files, if it has them}.
    ground_truth: split to the sha256 of its file. left_out: scenes that could not be read, and the
    reasons. deviations: sentences on differences from the published set. mean_sizes: per class the
    mean full size (dx, dy, dz) in metres of the boxes of the split train. Empty if it has no boxes.
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
    mean_sizes: list[list[float]] = field(default_factory=list)

    @property
    def has_instances(self) -> bool:
        """Whether every scene has the instance of each point."""
        return all("instances" in facts for facts in self.scenes.values())

    def files(self) -> dict[str, str]:
        """The sha256 of every file beside the manifest, by its name in the folder."""
        files = {f"points/{s}.npy": facts["sha256"] for s, facts in self.scenes.items()}
        files |= {
            f"{kind}/{s}.npy": facts[kind]
            for s, facts in self.scenes.items()
            for kind in OPTIONAL
            if kind in facts
        }
        return files | {f"{split}.npz": value for split, value in self.ground_truth.items()}

    def digest(self) -> str:
        """Identifies the points and boxes of a run's data, whatever version of this code prepared
        them. Instances and superpoints do not count: runs stay valid when a folder that lacks them
        is prepared again.
        """
        value = asdict(self)
        data = ("dataset", "classes", "rotated", "splits", "scenes", "ground_truth")
        for facts in value["scenes"].values():
            for kind in OPTIONAL:
                facts.pop(kind, None)
        return digest({name: value[name] for name in data})

    def provenance(self) -> dict[str, Any]:
        """The description of the data in the record of a run."""
        return {
            "dataset": self.dataset,
            "source": self.source,
            "labels": self.labels,
            "deviations": self.deviations,
            "prepared_by": self.code_version,
            "instances": self.has_instances,
            "digest": self.digest(),
        }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, completely or not at all. The folder then counts as prepared.

    Its digest is of the data only, its checksum of the whole manifest.
    """
    head = {"format": FORMAT, "version": VERSION, "digest": manifest.digest()}
    write_json(folder / MANIFEST, with_checksum({**head, **asdict(manifest)}))


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a prepared folder.

    Raises:
        InputError: the folder is not prepared, or its format is unknown or newer than ours.
        DamagedFile: the manifest is damaged or was edited.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(
            "no such file", file=path, kind=Kind.MISSING, remedy="Make it with `sr3d prepare`."
        )
    value = read_json(path, REMEDY)
    if not isinstance(value, dict):
        raise DamagedFile("not a manifest", file=path, kind=Kind.UNREADABLE, remedy=REMEDY)
    value = without_checksum(value, path, REMEDY)
    kind = value.pop("format", None), value.pop("version", None)
    if kind[0] == FORMAT and isinstance(kind[1], int) and kind[1] > VERSION:
        raise InputError(
            f"format version {kind[1]} is newer than this program supports ({VERSION})",
            file=path,
            kind=Kind.VALUE,
            remedy="Upgrade sr3d, or run `sr3d prepare` again.",
        )
    if kind[0] != FORMAT or kind[1] not in READABLE:
        raise InputError(
            f"format {kind[0]} version {kind[1]}", file=path, kind=Kind.UNREADABLE, remedy=REMEDY
        )
    wanted = value.pop("digest", None)
    try:
        manifest = Manifest(**value)
    except TypeError as error:
        raise InputError(str(error), file=path, kind=Kind.UNREADABLE, remedy=REMEDY) from None
    if manifest.digest() != wanted:
        raise DamagedFile(
            "damaged or edited, because its digest does not match its content",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=REMEDY,
        )
    return manifest


def verify(folder: str | Path) -> None:
    """Compare every file with its sha256.

    Raises:
        DamagedFile: names the first file that differs.
    """
    folder = Path(folder)
    for name, value in read_manifest(folder).files().items():
        verify_file(folder / name, value)


def verify_file(path: Path, expected: str) -> None:
    """Compare a prepared file with its sha256.

    Raises:
        DamagedFile: the file is missing or changed.
    """
    if not path.is_file() or sha256(path) != expected:
        raise DamagedFile(
            "missing or changed since it was prepared",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=REMEDY,
        )
