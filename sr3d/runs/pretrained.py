"""Training runs that come with the package, each in its folder with a card."""

from __future__ import annotations

from pathlib import Path

PRETRAINED = Path(__file__).parents[1] / "pretrained"
PRETRAINED_MODELS = ("sr3d_rooms",)
