"""The scans that golden files refer to by row."""

from __future__ import annotations

import numpy as np

from sr3d.data.datasets import SCANNET
from sr3d.data.mmdet3d.infos import read_infos
from tests.detectors.golden.comparing import Golden
from tests.shared_data import shared


def stored_scan(golden: Golden) -> np.ndarray:
    """(N, 6) float32, as the file of the scan has it: x, y, z, and the three colours."""
    file = shared(f"real/{golden.dataset}/points/{golden.scene}.bin")
    return np.fromfile(file, dtype=np.float32).reshape(-1, 6)


def alignment(golden: Golden) -> np.ndarray:
    """(4, 4) float64: turns a scan of ScanNet to its axes."""
    for split in ("train", "val"):
        path = shared(f"real/scannet/infos/scannet_infos_{split}.pkl")
        for info in read_infos(path, SCANNET.classes):
            if info.id == golden.scene:
                assert info.alignment is not None
                return info.alignment.astype(np.float64)
    raise AssertionError(f"no alignment of {golden.scene}")
