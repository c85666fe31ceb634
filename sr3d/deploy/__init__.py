"""Fused inference, static shapes, CUDA graphs, and the loop over scans."""
