"""Fast inference: the fused network, static shapes, CUDA graphs, and the loop over scans."""
