"""The names that stand for a model, without the models: this module does not import torch."""

from pathlib import Path

# The network of each name; SR3D is TR3D's, trained differently.
MODELS = {"sr3d": "tr3d", "tr3d": "tr3d", "fcaf3d": "fcaf3d"}

# Training runs that come with the package, each in its folder with a card.
PRETRAINED = Path(__file__).parent / "pretrained"
PRETRAINED_MODELS = ("sr3d_rooms",)

DEVICES = ("cpu", "cuda")
