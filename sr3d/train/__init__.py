"""Training: the step, the loop, checkpoints, and multi-GPU training."""
