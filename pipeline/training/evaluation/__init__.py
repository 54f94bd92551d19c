"""How good a version is, and what its features hold: figures for the gate, the model card and the training report."""
