"""Assigners: frozen parameters, called with anchors, predictions and ground truth of a batch.

`assigner` defines their arguments and results. `batching` assigns a whole batch in one pass.
"""
