"""The tables of a report: filled with our results, laid out with notes, and written."""
