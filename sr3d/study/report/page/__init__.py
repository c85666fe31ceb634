"""The report as one HTML page that any browser opens without further files."""

from sr3d.study.report.page.parts import Report, ReportPart
from sr3d.study.report.page.rendering import render_page

__all__ = ["Report", "ReportPart", "render_page"]
