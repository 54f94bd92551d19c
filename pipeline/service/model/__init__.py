"""The model version in charge: loading, swapping, the local copy."""
