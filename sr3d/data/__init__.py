"""Scenes: their type, their readers, their storage and their augmentation."""
