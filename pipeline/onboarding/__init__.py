"""Bringing a company's own data: drafts from its files, and a check of its configuration before a first run."""
