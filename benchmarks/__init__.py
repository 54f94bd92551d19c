"""The measured claims, each one command."""
