"""SPGroup3D (Zhu et al., AAAI 2024): superpoints as proposals."""
