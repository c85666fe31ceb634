"""Our average precision as a metric of mmengine, and boxes as files for `sr3d evaluate`.

mmdet3d's `IndoorMetric` needs mmcv's compiled operators; this needs none. Their numbers agree (see
`docs/mmdet3d.md`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS
from mmengine.evaluator import BaseMetric

from sr3d.detectors.outputs import require_finite
from sr3d.errors import InputError, Kind
from sr3d.evaluate.average_precision import average_precision
from sr3d.geometry.box_set import BoxSet
from sr3d.interop.mmdet3d.boxes import from_mmdet3d
from sr3d.runs.files import write_bytes


@METRICS.register_module()
class SR3DMetric(BaseMetric):
    """AP in percent, overall and of each class. out: a folder for `ground_truth.npz` and
    `detections.npz`.

    Samples must say their cloud: `lidar_points` among the `meta_keys` of `Pack3DDetInputs`.
    """

    default_prefix = "sr3d"

    def __init__(
        self, out: str | None = None, collect_device: str = "cpu", prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out = out

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        for sample in data_samples:
            truth, found = sample["eval_ann_info"], sample["pred_instances_3d"]
            labels = np.asarray(truth["gt_labels_3d"])
            known = labels >= 0  # mmdet3d gives -1 to classes that are left out
            scene = _scene(sample)
            require_finite([found["bboxes_3d"].tensor, found["scores_3d"]], f"scene {scene}")
            self.results.append(
                {
                    "scene": scene,
                    "rotated": truth["gt_bboxes_3d"].with_yaw,
                    "truth": (
                        from_mmdet3d(truth["gt_bboxes_3d"]).numpy()[known],
                        labels[known],
                    ),
                    "found": (
                        from_mmdet3d(found["bboxes_3d"]).cpu().numpy(),
                        found["labels_3d"].cpu().numpy(),
                        found["scores_3d"].cpu().numpy(),
                    ),
                }
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        truth = _box_set(results, "truth")
        found = _box_set(results, "found")
        if self.out:
            _write(Path(self.out) / "ground_truth.npz", truth)
            _write(Path(self.out) / "detections.npz", found)
        rotated = any(result["rotated"] for result in results)
        scores = average_precision(truth, found, self.dataset_meta["classes"], rotated=rotated)
        names = ("AP25", "AP50")
        by_class = {
            f"{label}_{name}": values[name]
            for label, values in scores["per_class"].items()
            for name in names
        }
        return {name: scores[name] for name in names} | by_class


def _scene(sample: Mapping[str, Any]) -> str:
    try:
        return PurePosixPath(sample["lidar_points"]["lidar_path"]).stem
    except KeyError:
        raise InputError(
            "SR3DMetric: a sample does not say its cloud",
            kind=Kind.MISSING,
            remedy="Add 'lidar_points' to the meta_keys of the test pipeline's Pack3DDetInputs.",
        ) from None


def _box_set(results: list[dict[str, Any]], kind: str) -> BoxSet:
    scenes = [result["scene"] for result in results]
    box, label, *score = (np.concatenate(c) for c in zip(*(r[kind] for r in results), strict=True))
    counts = [len(result[kind][0]) for result in results]
    return BoxSet(
        scene=np.repeat(np.array(scenes), counts),
        label=label.astype(np.int64),
        box=box.astype(np.float32),
        score=score[0].astype(np.float32) if score else None,
        scenes=tuple(scenes),
    )


def _write(path: Path, boxes: BoxSet) -> None:
    columns: dict[str, Any] = {"scene": boxes.scene, "label": boxes.label, "box": boxes.box}
    if boxes.score is not None:
        columns["score"] = boxes.score
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns, scenes=np.array(boxes.scenes))
    write_bytes(path, buffer.getbuffer())
