"""From run records to summaries and the paper's tables."""
