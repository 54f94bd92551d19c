"""Great Expectations on DuckDB, verdicts, Data Docs, error budgets, quarantine, conservation."""
