"""Draw the report's figures from run records: the paper's, all values, learning curves."""

from sr3d.study.report.figures.canvas import ReportFigure, Viewer
from sr3d.study.report.figures.drawing import OWN, draw_figures, viewers_in

__all__ = ["OWN", "ReportFigure", "Viewer", "draw_figures", "viewers_in"]
