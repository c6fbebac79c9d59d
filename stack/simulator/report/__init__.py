"""What the reports of runs and of plans share: figures, tables and the page."""
