"""The content of a prepared folder, and signs of mistakes in it."""

from sr3d.data.inspection.description import describe
from sr3d.data.inspection.facts import BoxPlace, ClassFacts, Inspection, Sign, SplitFacts, Suspicion
from sr3d.data.inspection.inspecting import choose_scenes, inspect

__all__ = [
    "BoxPlace",
    "ClassFacts",
    "Inspection",
    "Sign",
    "SplitFacts",
    "Suspicion",
    "choose_scenes",
    "describe",
    "inspect",
]
