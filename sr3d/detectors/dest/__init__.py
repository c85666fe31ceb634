"""DEST: GroupFree whose decoder scans the seeds, with queries as the states of the scan."""
