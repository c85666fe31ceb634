"""What is made of runs: statistics, reports, plans, tracking and benchmarks."""
