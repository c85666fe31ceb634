"""Names of ScanNet's files, as they are published."""

from __future__ import annotations

LABEL_MAP = "scannetv2-labels.combined.tsv"
SPLITS = {"train": "scannetv2_train.txt", "val": "scannetv2_val.txt"}
SUFFIXES = ("_vh_clean_2.ply", "_vh_clean_2.0.010000.segs.json", ".aggregation.json", ".txt")
"""What follows a scan's id: its mesh, segments, objects and alignment."""
