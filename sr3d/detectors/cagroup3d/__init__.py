"""CAGroup3D, a detector of two stages on voxels."""
