"""The sparse operations as Triton kernels, compiled at run time for any recent GPU.

Output-stationary kernels. Each program owns a tile of output rows and channels, gathers the input
rows for one kernel offset after the other, and keeps the sum in fp32 registers (implicit GEMM).
Every output is written once, so there are no atomics and no temporaries, the result is
deterministic, and scale, shift, residual and activation are free. The gradient of the input is the
same kernel over the transposed map. On sites onto themselves this is the same map with a mirrored
kernel. The gradient of the weights sums over rows, so its reduction is split into chunks with fp32
partial sums.

Masks. In a scan a row has 3 to 14 of 27 neighbours, but a tile pays for every offset that any of
its rows has. So rows are sorted by their sets of neighbours, and each tile gets a list of its live
offsets with their input rows, made on the device (`tables`, with figures). Layers of few rows would
leave most of a GPU idle, so they also split the offsets into groups.

Tested. Every kernel runs in Triton's interpreter and equals `torch_engine`. Each shipped
configuration compiles for sm_80, sm_89 and sm_90 to tensor-core instructions with asynchronous
copies and without spills, which the interpreter does not show.

Not tested. Nothing has run on a GPU yet. The shipped configurations (`configs.json`) come from
reasoning. `python -m sr3d.sparse.triton.tune` measures a table, which takes precedence. Also
unknown: whether two tiles in flight hide the gathers, how much locality the order by mask costs,
and the time of the tables (three small kernels and a sort per map).
"""
