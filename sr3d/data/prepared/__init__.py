"""The prepared format of all data sets: memory-mapped points, and one file of boxes per split.

    DIR/manifest.json          what it holds. Written last, so if it exists the set is complete
    DIR/points/<scene>.npy     (N, 6) float32: x, y, z in metres, z up, and r, g, b in [0, 1]
    DIR/instances/<scene>.npy  (N,) int16: the box whose object each point lies on, -1 for none.
                               Absent for data sets without masks, and in format version 2
    DIR/superpoints/<scene>.npy  (N,) int32: the superpoint of each point, if the data set has them
    DIR/<split>.npz            ground truth of the split: scene (K,), label (K,), box (K, 7), and
                               scenes (M,), the ids of all its scenes

The ground-truth files are what `sr3d evaluate --ground-truth` reads.
"""

from sr3d.data.prepared.manifest import MANIFEST, Manifest, read_manifest, verify
from sr3d.data.prepared.reading import PreparedDataset
from sr3d.data.prepared.writing import PreparedWriter

__all__ = ["MANIFEST", "Manifest", "PreparedDataset", "PreparedWriter", "read_manifest", "verify"]
