"""The report's figures, drawn from run records: the paper's, all values, learning curves."""

from sr3d.report.figures.drawing import draw_figures
from sr3d.report.figures.drawn import Drawn

__all__ = ["Drawn", "draw_figures"]
