"""Assigners: frozen parameters, called with anchors, predictions and ground truth of a batch.

`assigner` says what all of them take and give. Each assigns a whole batch in one pass: `batching`.
"""
