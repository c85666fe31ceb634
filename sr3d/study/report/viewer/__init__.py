"""A scene with its boxes as one HTML file that any browser opens without a network.

It requires only the core dependencies, so `sr3d detect --view` works on a minimal installation.
"""

from sr3d.study.report.viewer.layers import BoxLayer
from sr3d.study.report.viewer.viewer_page import write_scene_viewer, write_viewer

__all__ = ["BoxLayer", "write_scene_viewer", "write_viewer"]
