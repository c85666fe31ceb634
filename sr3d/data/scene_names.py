"""Matches the scene names of two files of boxes, which may differ in suffixes and folders."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from sr3d.errors import InputError, Kind

_KINDS = re.compile(
    r"\.(?:ply|pcd|npy|npz|bin|obj|gltf|glb|las|laz|png|jpg|txt|xyz|pts|json|pkl)$", re.IGNORECASE
)
# Suffixes that data sets and programs add to scene names: ScanNet's meshes, and predictions.
_ADDED = re.compile(r"_vh_clean(?:_2)?$|_vert$|[_.-]?pred(?:iction)?s?$|^pred(?:iction)?s?[_.-]")


def match_scenes(words: Iterable[str], known: Collection[str], path: Path) -> dict[str, str]:
    """The scene of `known` that each word of a file names.

    A word may have a file suffix, additional parent folders, or ScanNet's suffix of meshes
    (`_vh_clean_2`). Folders may be parts of a scene's name, as in `sr3d prepare folder`:
    `flat1/kitchen.ply` is `flat1_kitchen`.

    Raises:
        InputError: a word names no scene, or two words name the same scene.
    """
    found: dict[str, str] = {}
    for word in words:
        scene = next((name for name in _spellings(word) if name in known), None)
        if scene is None:
            shown = ", ".join(f"'{name}'" for name in sorted(known)[:3])
            raise InputError(
                f"'{word}' is not in the ground truth, which has {shown}"
                f"{', …' if len(known) > 3 else ''}",
                file=path,
                field="scene",
                kind=Kind.UNKNOWN,
                remedy="Use the same scene names in both files, or evaluate on the scene's split.",
            )
        found[word] = scene
    owners: dict[str, str] = {}
    for word, scene in found.items():
        if scene in owners:
            raise InputError(
                f"'{owners[scene]}' and '{word}' both name the scene '{scene}'",
                file=path,
                field="scene",
                kind=Kind.CONFLICT,
                remedy="Name each scene once.",
            )
        owners[scene] = word
    return found


def _spellings(word: str) -> Iterable[str]:
    yield word
    bare = word.strip()
    while (shorter := _KINDS.sub("", bare)) != bare:
        bare = shorter
        yield bare
    parts = PurePosixPath(bare.replace("\\", "/")).parts
    for i in range(len(parts)):
        for tail in ("/".join(parts[i:]), "_".join(parts[i:])):
            yield tail
            yield re.sub(r"[^\w.+-]", "_", tail)
            yield _ADDED.sub("", tail)
