"""DLLA: TR3D and FCAF3D whose ground truths are assigned by learned distances."""
