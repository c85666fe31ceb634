"""What an experiment costs, before anything of it runs: hours, jobs, disk.

experiment     the file that the workflow writes: which settings, how often, on what data
finished_runs  what finished runs took
measuring      real training steps and evaluations on this machine, timed
prices         what a step, a scene and a file cost each setting, and who says so
budget         the arithmetic from prices to hours
plan_text      the budget as one page
"""
