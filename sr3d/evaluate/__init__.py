"""Evaluation: average precision, consistency of scores and IoU, and uncertainty over scenes."""
