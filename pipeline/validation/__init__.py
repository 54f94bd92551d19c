"""Great Expectations on DuckDB, verdicts and Data Docs, error budgets, quarantine, and the conservation law."""
