"""What `sr3d benchmark` measures: latency and its stages, training steps, memory, growth, roofline.

`docs/benchmark.md` says what each number means. Everything is measured in a process of its own
(`memory`), because memory that an earlier measurement keeps would hide what the next one needs.
"""
