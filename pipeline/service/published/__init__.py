"""Lookups in the published week."""
