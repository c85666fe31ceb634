"""SR3D inside mmdet3d 1.4. Importing this registers the following names for configurations.

    custom_imports = dict(imports=["sr3d.interop.mmdet3d"], allow_failed_imports=False)

- `SR3D`: a detector.
- `SR3DHead`: a head for it, and for mmdet3d's own TR3D.
- `SR3DDataset`: reads exports of `sr3d export mmdet3d`.
- `SR3DMetric`: AP on any machine, and boxes as files.

Complete configurations are in `configs`. `envs/openmmlab.sh` makes an environment with mmdet3d.
"""

from __future__ import annotations

from sr3d.interop.mmdet3d.checkpoints import allow_checkpoints
from sr3d.interop.mmdet3d.dataset import SR3DDataset
from sr3d.interop.mmdet3d.detector import SR3D
from sr3d.interop.mmdet3d.head import SR3DHead
from sr3d.interop.mmdet3d.metric import SR3DMetric

__all__ = ["SR3D", "SR3DDataset", "SR3DHead", "SR3DMetric"]

allow_checkpoints()
