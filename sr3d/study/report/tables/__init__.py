"""Fill the tables of a report with our results, lay them out with notes, and write them."""
