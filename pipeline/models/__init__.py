"""Model versions: their files, the registry, the history of their roles, and the one scoring path."""
