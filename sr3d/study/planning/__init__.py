"""Plan an experiment: estimate its hours, jobs and disk space before it runs.

experiment     reads the file that the workflow writes: settings, numbers of runs, data
finished_runs  takes durations from finished runs
measuring      times real training steps and evaluations on this machine
prices         gives each setting its seconds and bytes, with their source
budget         computes hours and bytes from prices
plan_text      prints the budget as one page
"""
