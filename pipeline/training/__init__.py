"""Training: from past weeks' features and labels to a version in the registry, as tasks of `train_model`.

plan → collect → fit → evaluate → register, one module each. Beside them: `training_set` (what collect wrote, and its
split by time), `estimator` (the scikit-learn pipeline) and `export` (the one door from scikit-learn to a bundle).
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before MLflow is imported; DO_NOT_TRACK is not enough
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before scikit-learn: threads that spin starve other tasks
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
