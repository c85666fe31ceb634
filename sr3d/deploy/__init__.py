"""Fast inference: the fused network, static shapes, CUDA graphs, and the loop over scans."""

import sr3d.detectors  # noqa: F401  # first, because it imports modules of this package
