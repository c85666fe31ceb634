"""Runs on disk: records, folders, markers, locks, and the facts of a machine."""
