"""What `pipeline.weekly.report` is made of: questions to the warehouse, figures, charts, words and the page."""
