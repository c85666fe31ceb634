"""Sparse tensors and convolutions in plain PyTorch that follow MinkowskiEngine's rules exactly.

`Sites` is a set of occupied cells, which caches its derived sets. A `KernelMap` lists the pairs of
input row and output row at each kernel offset. `functional` computes with both. `nn` has the
modules, with MinkowskiEngine's names and shapes of parameters.
"""

from sr3d.sparse.sites import Sites
from sr3d.sparse.tensor import SparseTensor

__all__ = ["Sites", "SparseTensor"]
