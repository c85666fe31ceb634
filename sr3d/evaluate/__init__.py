"""How good detections are: average precision, whether scores tell the overlap, and how much of a
difference the choice of scenes explains.
"""
