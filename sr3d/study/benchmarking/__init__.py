"""What `sr3d benchmark` measures: latency and its stages, training steps, memory, growth, roofline.

`docs/benchmark.md` explains each number. Each measurement runs in its own process (`memory`),
because memory that an earlier measurement keeps would hide the next one's demand.
"""
