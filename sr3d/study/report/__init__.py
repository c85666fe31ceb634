"""Turn run records into summaries, the paper's tables and figures, and verdicts on its claims."""
