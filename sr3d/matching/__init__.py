"""Label assigners: pure functions from anchors, predictions and ground truth to a match per anchor.

A match is an int64 tensor (N,): the index of the ground truth that an anchor is positive for, or
-1 for a negative. A whole batch is assigned in one pass: see `scenes`.
"""
