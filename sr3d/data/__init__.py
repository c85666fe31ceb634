"""Scenes: what they are, where they come from, how they are stored and augmented."""
