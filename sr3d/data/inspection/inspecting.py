"""One pass over the scenes of a prepared folder, with one scene in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sr3d.data.inspection.facts import (
    BoxPlace,
    ClassFacts,
    Inspection,
    SceneFacts,
    SplitFacts,
    Triple,
    scene_facts,
)
from sr3d.data.inspection.suspicions import suspicions
from sr3d.data.own.labels import similar_names
from sr3d.data.prepared import Manifest, PreparedDataset, read_manifest
from sr3d.errors import InputError, Kind
from sr3d.validation import did_you_mean

Array = npt.NDArray[Any]


def inspect(
    folder: str | Path,
    splits: Sequence[str] | None = None,
    scenes: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """The facts of all scenes, or of the named ones. progress: called with (done, all).

    Raises:
        InputError: no such split or scene, or a file that is not the one the manifest describes.
    """
    manifest = read_manifest(folder)
    chosen = choose_scenes(folder, manifest, splits, scenes)
    done, total, found = 0, sum(map(len, chosen.values())), []
    looks = dict[bytes, dict[str, None]]()  # scenes that look the same, in any split
    for split, ids in chosen.items():
        data, seen = PreparedDataset(folder, split), []
        place = {scene: i for i, scene in enumerate(data.ids)}
        for scene in ids:
            seen.append(scene_facts(data[place[scene]]))
            one = seen[-1]
            values = np.concatenate([[one.points, one.known], one.extents, one.colors.ravel()])
            looks.setdefault(values.tobytes(), {})[scene] = None
            done += 1
            if progress is not None:
                progress(done, total)
        found.append(split_facts(split, seen, manifest))
    return Inspection(
        folder=str(folder),
        dataset=manifest.dataset,
        source=manifest.source,
        digest=manifest.digest(),
        rotated=manifest.rotated,
        labels=manifest.labels,
        left_out=manifest.left_out,
        deviations=manifest.deviations,
        instances=sum("instances" in facts for facts in manifest.scenes.values()),
        like_classes=tuple(tuple(group) for group in similar_names(manifest.classes)),
        twins=tuple(tuple(group) for group in looks.values() if len(group) > 1),
        splits=tuple(found),
    )


def choose_scenes(
    folder: str | Path,
    manifest: Manifest,
    splits: Sequence[str] | None = None,
    scenes: Sequence[str] | None = None,
) -> dict[str, list[str]]:
    """Scene ids by split, in the manifest's order: all, or the named ones. No split is empty.

    Raises:
        InputError: no such split or scene.
    """
    for split in splits or ():
        if split not in manifest.splits:
            hint = did_you_mean(split, list(manifest.splits))
            raise InputError(f"no split '{split}'{hint}", file=folder, kind=Kind.UNKNOWN)
    among = {s: ids for s, ids in manifest.splits.items() if not splits or s in splits}
    known = {scene: None for ids in among.values() for scene in ids}
    for scene in scenes or ():
        if scene not in known:
            hint = did_you_mean(scene, list(known))
            hint = hint if len(hint) < 200 else f". Its manifest lists all {len(known)} scenes"
            raise InputError(
                f"no scene '{scene}' in {', '.join(among)}{hint}", file=folder, kind=Kind.UNKNOWN
            )
    wanted = set(scenes or known)
    kept = {s: [scene for scene in ids if scene in wanted] for s, ids in among.items()}
    return {split: ids for split, ids in kept.items() if ids}


def split_facts(split: str, seen: list[SceneFacts], manifest: Manifest) -> SplitFacts:
    boxes = np.concatenate([s.boxes for s in seen])
    labels = np.concatenate([s.labels for s in seen])
    empty = np.concatenate([s.empty for s in seen])
    whole = np.isfinite(boxes).all(axis=1)
    classes = [
        _class_facts(name, boxes[own & whole], int(own.sum()), int(empty[own].sum()))
        for name, own in ((name, labels == i) for i, name in enumerate(manifest.classes))
    ]

    def places(mask: str) -> tuple[BoxPlace, ...]:
        odd = [(s, k) for s in seen for k in np.flatnonzero(getattr(s, mask)).tolist()]
        return tuple(BoxPlace(s.id, manifest.classes[s.labels[k]], k) for s, k in odd)

    counts, ups = [s.points for s in seen], [s.up for s in seen]
    known = [s for s in seen if s.known] or seen
    least, mean, most = np.stack([s.colors for s in known], axis=1)
    mean = np.average(mean, axis=0, weights=[max(1, s.known) for s in known])
    return SplitFacts(
        name=split,
        scenes=len(seen),
        points=sum(counts),
        points_a_scene=(min(counts), float(np.median(counts)), max(counts)),
        boxes=len(boxes),
        classes=tuple(classes),
        without_boxes=tuple(s.id for s in seen if not len(s.boxes)),
        not_finite=tuple(s.id for s in seen if not s.finite),
        without_points=places("empty"),
        outside=places("outside"),
        extents=_triple(np.median([s.extents for s in known], axis=0)),
        colors=(_triple(least.min(axis=0)), _triple(mean), _triple(most.max(axis=0))),
        up=(ups.count(0), ups.count(1), ups.count(2)),
        suspicions=tuple(suspicions(split, seen, manifest.rotated)),
    )


def _class_facts(name: str, boxes: Array, count: int, empty: int) -> ClassFacts:
    """boxes: (K, 7), the finite ones of the class."""
    if not len(boxes):
        return ClassFacts(name, count, empty, None, None)
    sizes = boxes[:, 3:6]
    edges = float(sizes.min()), float(sizes.max())
    return ClassFacts(name, count, empty, _triple(np.median(sizes, axis=0)), edges)


def _triple(values: Array) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
