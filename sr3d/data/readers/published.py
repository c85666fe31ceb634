"""The published counts of the data sets, and how a prepared set differs from them."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

from sr3d.data.scene import Scene

_LISTED = 10  # maximum number of scenes in a sentence


@dataclass(frozen=True)
class PublishedCounts:
    """Published numbers. Empty fields are not compared.

    scenes: per split. boxes: per split and class. scene_boxes: per scene. with_boxes: number of
    scenes with a box, per split.
    """

    scenes: Mapping[str, int] = field(default_factory=dict)
    boxes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    with_boxes: Mapping[str, int] = field(default_factory=dict)
    scene_boxes: Mapping[str, int] = field(default_factory=dict)

    def of_some_scenes(self) -> PublishedCounts:
        """The numbers that hold for a selection of scenes."""
        return PublishedCounts(scene_boxes=self.scene_boxes)


def compare(
    splits: Mapping[str, Sequence[Scene]],
    classes: Sequence[str],
    published: PublishedCounts,
    left_out: Collection[str] = (),
) -> list[str]:
    """A sentence for each deviation. Scenes may lack points. left_out: skipped scenes."""
    found = compare_scenes(
        {split: [scene.id for scene in scenes] for split, scenes in splits.items()}, published
    )
    if not found:
        found = _compare_boxes(splits, classes, published)
    present = {scene.id: len(scene.boxes) for scenes in splits.values() for scene in scenes}
    differ = [
        f"{scene} ({present[scene]} boxes instead of {count})"
        for scene, count in published.scene_boxes.items()
        if present.get(scene, count) != count
    ]
    if differ:
        found.append("scenes that differ: " + _listed(differ))
    if left_out:
        found.append("scenes left out: " + _listed(list(left_out)))
    return found


def compare_scenes(splits: Mapping[str, Sequence[str]], published: PublishedCounts) -> list[str]:
    """Deviations in the list of scenes of the published splits, before any scene is read."""
    wrong = [
        f"{split} has {len(splits.get(split, ()))} scenes instead of {count}"
        for split, count in published.scenes.items()
        if len(splits.get(split, ())) != count
    ]
    if published.scenes:
        present = {scene for ids in splits.values() for scene in ids}
        if missing := [scene for scene in published.scene_boxes if scene not in present]:
            wrong.append("scenes that are missing: " + _listed(missing))
    return wrong


def _compare_boxes(
    splits: Mapping[str, Sequence[Scene]], classes: Sequence[str], published: PublishedCounts
) -> list[str]:
    found = []
    for split, count in published.with_boxes.items():
        some = sum(len(scene.boxes) > 0 for scene in splits.get(split, ()))
        if some != count:
            found.append(f"{split} has {some} scenes with boxes instead of {count}")
    for split, wanted in published.boxes.items():
        labels = torch.cat([scene.labels for scene in splits[split]])
        counts = torch.bincount(labels, minlength=len(classes)).tolist()
        wrong = [
            f"{name} {count} instead of {right}"
            for name, count, right in zip(classes, counts, wanted, strict=True)
            if count != right
        ]
        if wrong:
            total = f"{sum(counts)} boxes instead of {sum(wanted)}"
            found.append(f"{split} has {total} ({', '.join(wrong)})")
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


@cache
def scannet() -> PublishedCounts:
    """ScanNet V2 with its 18 classes (open-mmlab/mmdetection3d's info files)."""
    return PublishedCounts(
        scenes={"train": 1201, "val": 312},
        boxes={
            "train": (
                1427, 307, 4357, 406, 1271, 2026, 928, 300, 661, 216, 551, 292, 186, 116, 201, 390,
                113, 1985,
            ),
            "val": (
                372, 81, 1368, 97, 350, 467, 282, 77, 222, 52, 127, 67, 57, 28, 58, 98, 31, 530,
            ),
        },
        with_boxes={"train": 1199, "val": 312},
        scene_boxes=_scannet_boxes(),
    )  # fmt: skip


def _scannet_boxes() -> dict[str, int]:
    path = Path(__file__).with_name("scannet_boxes.csv")
    with open(path, encoding="utf-8", newline="") as file:
        return {row["scene"]: int(row["boxes"]) for row in csv.DictReader(file)}


def sunrgbd(labels: str) -> PublishedCounts:
    """SUN RGB-D's split, and the box counts of labels v1. No counts are published for v2."""
    frames = {"train": 5285, "val": 5050}
    if labels == "v2":
        return PublishedCounts(scenes=frames)
    return PublishedCounts(
        scenes=frames,
        boxes={"val": (545, 2454, 639, 10481, 151, 2169, 221, 258, 303, 52)},
        with_boxes={"val": 4031},
    )


S3DIS = PublishedCounts(scenes={"train": 204, "val": 68})
"""272 rooms, of which Area 5 has 68."""
