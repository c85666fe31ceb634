"""Outputs of the original detectors on real scans, against ours. One module per family.

Such a module has two names:

- `INPUTS`: arrays of its files that are inputs or constants, each with the reason why nothing is
  compared with it;
- `comparisons(golden, folder)`: yields `Comparison`s for all other arrays. It rebuilds the weights
  (`weights.rebuilt`), saves them in `folder` as a published checkpoint and loads them with
  `sr3d.load`.

`tests/detectors/test_golden.py` runs them. No module knows a scene or the shapes of a scene.
"""
