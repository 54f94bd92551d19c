"""Scoring: features in, predictions out; the one path for the weekly run, for evaluation and for the service.

A record batch → `columns` → an engine → a satisfaction for each row. `exact` scores the families that we train from
plain arrays, to scikit-learn's own bits, by `trees` or `linear`, whose arithmetic is in `kernel.c` and again in NumPy.
`onnx` scores every other pipeline. The entry point is `scorer.Scorer`.
"""
