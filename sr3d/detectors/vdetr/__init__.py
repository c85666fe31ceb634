"""V-DETR: queries on sparse voxels, whose attention knows the vertices of their boxes."""
