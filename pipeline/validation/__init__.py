"""Great Expectations on DuckDB, the evidence it leaves, quarantine, and the conservation law."""
