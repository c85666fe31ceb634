"""Average precision of one trained model, eager and compiled, in single and half precision.

    python -m benchmarks.compiled_accuracy --run RUN --data DATA [--split val] --out FILE.json

RUN is the folder of a training run, DATA the prepared data set. Half precision must not cost
accuracy. The table shows the change of AP and of single scores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sr3d
from sr3d.data.prepared import PreparedDataset
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.evaluate.average_precision import score_matches
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.loop import ground_truth
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import write_json
from sr3d.runs.folder import open_split
from sr3d.runs.machine import code_version, machine_facts, versions

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = sr3d.load(str(args.run), device=args.device)
    assert isinstance(model, TR3D)
    scenes = open_split(args.data, args.split, model.dataset)
    ways = {"eager": model.detect}
    ways |= {f"compiled {name}": model.compile(dtype).detect for name, dtype in DTYPES.items()}
    truth = ground_truth(scenes)
    found: dict[str, dict[str, float]] = {}
    for name, detect in ways.items():
        boxes = detect_all(detect, scenes)
        matching = best_ground_truth(truth, boxes, model.dataset.rotated)
        metrics = score_matches(truth, boxes, matching, model.dataset.classes)
        found[name] = {m: float(metrics[m]) for m in ("AP25", "AP50")} | {"boxes": len(boxes)}
        print(f"{name:18} AP25 {found[name]['AP25']:.3f}  AP50 {found[name]['AP50']:.3f}")
    if args.out:
        write_json(
            args.out,
            {
                "benchmark": "compiled_accuracy",
                "command": " ".join(sys.argv[1:]),
                "dataset": model.dataset.name,
                "scenes": len(scenes),
                "found": found,
                "machine": machine_facts(),
                "versions": versions(),
                "code": code_version(),
            },
        )


@torch.inference_mode()
def detect_all(detect: Callable[[Any, Any], Detections], scenes: PreparedDataset) -> BoxSet:
    """Detections in every scene. The first point represents a voxel, so nothing is random."""
    found: list[Detections] = []
    for scene in scenes:
        found.append(detect(scene.points, scene.colors))
    return BoxSet(
        scene=np.repeat(np.array(scenes.ids), [len(d.labels) for d in found]),
        label=torch.cat([d.labels for d in found]).cpu().numpy(),
        box=torch.cat([d.boxes for d in found]).cpu().numpy(),
        score=torch.cat([d.scores for d in found]).cpu().numpy(),
        scenes=tuple(scenes.ids),
    )


if __name__ == "__main__":
    main()
