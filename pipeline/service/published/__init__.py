"""Lookups in the published week, and completing an instance from it."""
