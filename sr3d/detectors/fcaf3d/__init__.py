"""FCAF3D: dense heads on four levels of a generative feature pyramid."""
