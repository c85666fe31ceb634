"""Reads exports of `sr3d export mmdet3d`, including procedural rooms and own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.datasets import Det3DDataset
from mmdet3d.registry import DATASETS

from sr3d.data.safe_pickle import load_pickle
from sr3d.errors import InputError, Kind
from sr3d.interop.mmdet3d.box_conversion import depth_boxes


@DATASETS.register_module()
class SR3DDataset(Det3DDataset):
    """An exported folder. The info file has the classes, and whether boxes are oriented.

    Raises:
        InputError: the info file was not written by `sr3d export mmdet3d`.
    """

    def __init__(self, data_root: str, ann_file: str, **kwargs: Any) -> None:
        path = Path(data_root) / ann_file
        content = load_pickle(path)
        try:
            labels = content["metainfo"]["categories"]
            self.rotated = any(
                len(one["bbox_3d"]) == 7 for row in content["data_list"] for one in row["instances"]
            )
        except (KeyError, TypeError):
            raise InputError(
                "is no info file of `sr3d export mmdet3d`",
                file=path,
                kind=Kind.UNREADABLE,
                remedy="Write it with `sr3d export mmdet3d`.",
            ) from None
        classes = tuple(sorted(labels, key=labels.get))
        self.METAINFO = {"classes": classes}
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            metainfo={"classes": classes},
            data_prefix={"pts": "points"},
            box_type_3d="Depth",
            **kwargs,
        )

    def parse_ann_info(self, info: dict[str, Any]) -> dict[str, Any]:
        """Labels, and boxes as mmdet3d's Depth boxes."""
        found = super().parse_ann_info(info)
        if found is None:
            found = {"gt_bboxes_3d": np.zeros((0, 7)), "gt_labels_3d": np.zeros(0, dtype=np.int64)}
        return {**found, "gt_bboxes_3d": depth_boxes(found["gt_bboxes_3d"], self.rotated)}
