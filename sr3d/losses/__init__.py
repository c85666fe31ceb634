"""Classification losses: pure functions of logits, matches and localisation quality.

The box loss is `sr3d.geometry.iou.paired_diou_loss`.
"""
