"""The scenes in which a detector does worst, with the viewers of these scenes."""

from __future__ import annotations

from pathlib import Path

from sr3d.study.report.figures.canvas import Canvas
from sr3d.study.report.figures.names import Names
from sr3d.study.report.figures.qualitative import show_scenes
from sr3d.study.report.figures.scenes import IOU, SCORE, f1_scores
from sr3d.study.report.findings import Findings
from sr3d.study.report.headline import settings_of_result

WORST_TITLE = "Scenes with the lowest F1"
_COUNT = 3


def draw_worst(findings: Findings, names: Names, data: Path | None) -> Canvas:
    """Ground truth and detections in the three scenes in which the main setting has its lowest F1.

    The main setting is the one that the result is about. data: the prepared folder, for the points.
    """
    canvas = Canvas(WORST_TITLE, dark=False)
    tests = {
        setting: test
        for setting in settings_of_result(findings)
        if (test := canvas.first_test(findings, setting, names.label(setting))) is not None
    }
    if not tests:
        canvas.missing.append("no detections of an evaluation")
        return canvas
    worst = next(iter(tests))
    f1 = f1_scores(tests[worst])
    scenes = sorted(f1, key=lambda scene: (f1[scene], scene))[:_COUNT]
    show_scenes(canvas, findings, names, tests, scenes, data)
    canvas.caption = (
        f"The three scenes with the lowest F1 of {names.label(worst)} in the first evaluation of "
        f"its first training run. Boxes have a score of {SCORE:g} or more. Solid boxes overlap a "
        f"ground truth of their class by more than {IOU:g} IoU. Dotted boxes do not. Numbers are "
        "classes. The bars are one metre long."
    )
    return canvas
