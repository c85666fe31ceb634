"""The measurements for a GPU, in three stages. `docs/measure_speed.md` says how to run them."""
