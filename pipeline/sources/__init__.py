"""Reading sources: where the files are, a reader for each format, and the casts from text to declared types."""
