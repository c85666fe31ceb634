"""The original files of each data set, read into scenes and put into the prepared format."""
