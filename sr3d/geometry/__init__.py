"""Boxes, their overlaps, and non-maximum suppression."""
