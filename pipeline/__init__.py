"""Barometer: weekly predictions of how satisfied each customer is likely to be with each product."""

__version__ = "0.1.0"
