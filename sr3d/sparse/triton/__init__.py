"""The sparse operations as Triton kernels: nothing to compile beforehand, any recent GPU.

Why output-stationary. Each program owns a tile of output rows and channels, gathers the input rows
that it needs for one kernel offset after the other, and keeps the sum in registers in fp32
(implicit GEMM). Every output is written once, so there are no atomics and no temporaries, the
result is the same bits every time, and scale, shift, residual and activation cost nothing more at
the end. The gradient for the input is the same kernel over the transposed map; on sites onto
themselves that is the same map with the kernel the other way round. The gradient for the weights
sums over rows instead, so its reduction is split into chunks with fp32 partial sums.

Why masks. In a scan a row has 3 to 14 of 27 neighbours, but a tile pays for every offset that any
of its rows has. Rows are therefore sorted by which neighbours they have, and each tile gets the
list of its live offsets with the input rows there, made on the device (`tables`, with the figures).
Layers of few rows, which would leave most of a GPU idle, split the offsets into groups besides.

What is known. Every kernel is tested in Triton's interpreter against `torch_engine`, and each
shipped configuration compiles for sm_80, sm_89 and sm_90 to tensor-core instructions with
asynchronous copies and without spills (the interpreter shows none of that).

What is not. Nothing here has run on a GPU yet. Speeds, and with them the shipped configurations
(`configs.json`), are reasoned; `python -m sr3d.sparse.triton.tune` measures and writes the table
that comes first from then on. Likewise open: whether two tiles in flight hide the gathers, what the
order by mask costs in locality, and the tables' own time, three small kernels and a sort a map.
"""
