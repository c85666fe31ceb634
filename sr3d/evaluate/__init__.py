"""Evaluation: average precision, the agreement of scores and IoU, and the effect of the choice of
scenes on a difference.
"""
