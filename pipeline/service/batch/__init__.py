"""Files of rows: upload, jobs, results."""
