"""How good detections are: average precision, and the inconsistency of score and overlap."""
