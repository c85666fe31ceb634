"""What an experiment costs, told before anything of it runs: hours, jobs, disk.

experiment   the file that the workflow writes: which settings, how often, on what data
scenes       how many scenes there are, and some to measure on
measuring    real training steps and tests on this machine, timed
earlier      what finished runs took
prices       what a step, a scene and a file cost each setting, and who says so
budget       the arithmetic from prices to hours
text         the budget as a table
"""
