"""The weekly run against what else could do its work; run it by `python -m benchmarks.weekly_run`."""
