"""Log, metrics, health."""
