"""The effect of removing duplicates, with the packaged model on held-out rooms.

Recall: share of true boxes with a detection of their class at an IoU threshold. Precision: share of
detections with a true box of their class at IoU 0.25. Score 0.3 or more, as `sr3d detect`.

    python benchmarks/duplicates.py --rooms 60 --out benchmarks/results/duplicates.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import sr3d
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scans import Frame, Scan
from sr3d.deploy.detection import detect_in_scan
from sr3d.geometry.iou import pairwise_iou
from sr3d.runs.machine import code_version, machine_facts, versions

_FIRST = 710_000  # first seed. The thresholds were chosen on other rooms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for duplicates in (True, False):
        rows.append({"duplicates_kept": duplicates, **measure(args.rooms, duplicates)})
        print(rows[-1])
    about = {"rooms": args.rooms, "machine": machine_facts(), "versions": versions()}
    record = {**about, "code": code_version(), "rows": rows}
    args.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def measure(rooms: int, duplicates: bool) -> dict[str, float]:
    model = sr3d.load("sr3d_rooms")
    true = boxes = right = 0
    found = {0.25: 0, 0.5: 0}
    for seed in range(_FIRST, _FIRST + rooms):
        room = generate_room(seed)
        scan = Scan(room.points.numpy(), room.colors.numpy(), Frame(), ())
        detections = detect_in_scan(model, scan, 0.3, duplicates)
        overlap = pairwise_iou(detections.boxes, room.boxes.tensor, rotated=False)
        overlap = overlap.where(detections.labels[:, None] == room.labels, 0)
        true, boxes = true + len(room.labels), boxes + len(detections.labels)
        right += int((overlap > 0.25).any(dim=1).sum())
        for threshold in found:
            found[threshold] += int((overlap > threshold).any(dim=0).sum())
    recalls = {f"recall_{threshold}": round(n / true, 3) for threshold, n in found.items()}
    return {"true": true, "boxes": boxes, "precision_0.25": round(right / boxes, 3), **recalls}


if __name__ == "__main__":
    main()
