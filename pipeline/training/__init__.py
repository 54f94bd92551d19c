"""Training: from past weeks' features and labels to a version in the registry, as tasks of the DAG `train_model`.

The stages, one module each: training_plan → collect → tune → fit → evaluate → register → training_report. What they
share: `training_set` and `cleaning` (the rows), `halving` (the search for hyperparameters), `pipelines` (scikit-learn
and its export to ONNX) and `evaluation` (how good a version is, and what its features hold).
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before MLflow is imported; DO_NOT_TRACK is not enough
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before scikit-learn is: spinning threads starve other tasks
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
