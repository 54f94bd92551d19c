"""The service, the sidecar of the weekly run: on-demand predictions over HTTP with the same model and scoring path.

A request's way: `front` (id, host, key, limits, log, metrics) → the route's endpoint (of a module in `contracts`) →
`signature` (its bytes to instances) → `predictor` (instances of many requests to one batch) → `serving` (the model
versions in charge) → `pipeline.models.scoring`. `current` keeps `serving` up to date, `record` writes what was
answered.
Nothing here imports Airflow, MLflow, Great Expectations, pandas or scikit-learn.
"""
