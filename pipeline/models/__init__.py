"""A model version as files, the registry that knows it, and the one scoring path."""
