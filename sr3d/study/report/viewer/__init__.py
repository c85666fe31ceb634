"""A scene with its boxes as one HTML file, to look at in any browser and without a network.

Needs nothing but what the package itself needs, so that `sr3d detect --view` works on a bare
installation.
"""

from sr3d.study.report.viewer.layers import BoxLayer
from sr3d.study.report.viewer.viewer_page import write_scene_viewer, write_viewer

__all__ = ["BoxLayer", "write_scene_viewer", "write_viewer"]
