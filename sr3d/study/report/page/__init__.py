"""The report as one HTML page that needs nothing but a browser."""

from sr3d.study.report.page.rendering import render_page
from sr3d.study.report.page.report import Part, Report

__all__ = ["Part", "Report", "render_page"]
