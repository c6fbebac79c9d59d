"""The report of a run: report.html, results.json, series.csv."""
