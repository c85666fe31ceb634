"""Scenes: their type, their sources, their storage and their augmentation."""
