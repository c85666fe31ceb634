"""3DETR and 3DETR-m: a transformer on points, queries matched one to one with the ground truth."""
