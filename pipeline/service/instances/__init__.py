"""Bytes to rows, and predictions to bytes."""
