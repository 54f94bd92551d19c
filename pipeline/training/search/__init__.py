"""The search for a family and its hyperparameters: successive halving, and the trials it leaves behind."""
