"""The contracts that clients speak, a module each."""
