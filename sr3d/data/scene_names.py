"""Scenes of two files that name them differently: with a kind of file, or with folders."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from sr3d.errors import InputError

_KINDS = re.compile(
    r"\.(?:ply|pcd|npy|npz|bin|obj|gltf|glb|las|laz|png|jpg|txt|xyz|pts|json|pkl)$", re.IGNORECASE
)
# What data sets and programs add to the name of a scene: ScanNet's meshes, and predictions.
_ADDED = re.compile(r"_vh_clean(?:_2)?$|_vert$|[_.-]?pred(?:iction)?s?$|^pred(?:iction)?s?[_.-]")


def match_scenes(words: Iterable[str], known: Collection[str], where: str) -> dict[str, str]:
    """To each word the scene of `known` that it names: the same, or without the kind of file,
    without its first folders, or without what ScanNet adds to its meshes (`_vh_clean_2`). Folders
    may be parts of a scene's name, as `sr3d prepare folder` has them: `flat1/kitchen.ply` is
    `flat1_kitchen`.

    Raises:
        InputError: a word that names no scene, or two words that name one.
    """
    found: dict[str, str] = {}
    for word in words:
        scene = next((name for name in _spellings(word) if name in known), None)
        if scene is None:
            shown = ", ".join(f"'{name}'" for name in sorted(known)[:3])
            raise InputError(
                f"{where}: '{word}' is not in the ground truth, which has {shown}"
                f"{', …' if len(known) > 3 else ''}; name scenes alike in both, or evaluate on the "
                "split that it belongs to"
            )
        found[word] = scene
    owners: dict[str, str] = {}
    for word, scene in found.items():
        if scene in owners:
            raise InputError(
                f"{where}: '{owners[scene]}' and '{word}' both name the scene '{scene}'; name each "
                "scene once"
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
