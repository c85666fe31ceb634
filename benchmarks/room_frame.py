"""Recall of the packaged model in rooms that are rotated or raised.

The rooms are held-out procedural rooms. Recall: share of boxes found with the right class at IoU
0.25 and score 0.3 or more, with and without the room frame of `sr3d detect`. IoU is computed in the
frame of the model, where the true boxes have no yaw.

    python benchmarks/room_frame.py --rooms 40 --out benchmarks/results/room_frame.json
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

import sr3d
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scans import Frame, Scan
from sr3d.data.scans.room_frame import FIND, RoomOptions, into_room_frame
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.machine import code_version, machine_facts, versions

AS_IT_IS = RoomOptions(walls=0, floor=0)
CASES = [(0, 0.0), (0, -0.64), (0, 0.5), (0, 1.3), (5, 0.0), (15, 0.0), (30, 0.0), (45, 0.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for degrees, height in CASES:
        row: dict[str, float] = {"degrees": degrees, "height": height}
        for name, room in (("as_it_stands", AS_IT_IS), ("room_frame", FIND)):
            row[name] = round(recall(args.rooms, degrees, height, room), 3)
        rows.append(row)
        print(row)
    about = {"rooms": args.rooms, "machine": machine_facts(), "versions": versions()}
    record = {**about, "code": code_version(), "rows": rows}
    args.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def recall(rooms: int, degrees: float, height: float, room: RoomOptions) -> float:
    model = sr3d.load("sr3d_rooms")
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    found = total = 0
    for seed in range(700_000, 700_000 + rooms):
        scene = generate_room(seed)
        points = (scene.points.numpy() @ turn.T + [0, 0, height]).astype(np.float32)
        scan = Scan(points, scene.colors.numpy(), Frame(), ())
        scan = into_room_frame(scan, Path("room.ply"), model.dataset, room)
        boxes, scores, labels = model.detect(scan.points, scan.painted(), floor=0)
        # The true boxes in the frame of the model. Their yaw is the remaining error of the
        # rotation.
        truth = scene.boxes.tensor.double().numpy().copy()
        truth[:, :3] = (truth[:, :3] @ turn.T + [0, 0, height] - scan.frame.origin) @ (
            scan.frame.rotation.T
        )
        truth[:, 6] += math.radians(degrees) - scan.frame.walls
        kept = (scores >= 0.3).numpy()
        matching = best_ground_truth(
            box_set(truth.astype(np.float32), scene.labels.numpy()),
            box_set(boxes.numpy()[kept], labels.numpy()[kept], scores.numpy()[kept]),
            rotated=True,
        )
        hit = matching.iou >= 0.25
        found += len(np.unique(matching.index[hit]))
        total += len(truth)
    return found / total


def box_set(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray | None = None) -> BoxSet:
    scene = np.array(["room"] * len(labels))
    return BoxSet(scene=scene, label=labels, box=boxes, score=scores, scenes=("room",))


if __name__ == "__main__":
    main()
