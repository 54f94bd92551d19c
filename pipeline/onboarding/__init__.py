"""Bringing a company's data: drafts from its files, and a check of its configuration before anything runs."""
