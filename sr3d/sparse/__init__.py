"""Sparse tensors and convolutions in plain PyTorch, with MinkowskiEngine's rules to the letter.

`Sites` is a set of occupied cells and remembers what was derived from it; a `KernelMap` says which
input row meets which output row at which kernel offset; `functional` computes with them; `nn` has
the modules, whose parameters carry MinkowskiEngine's names and shapes.
"""

from sr3d.sparse.sites import Sites
from sr3d.sparse.tensor import SparseTensor

__all__ = ["Sites", "SparseTensor"]
