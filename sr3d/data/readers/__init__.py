"""Readers of the original files of each data set. They write the prepared format."""
