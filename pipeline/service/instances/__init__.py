"""Bytes to rows, and predictions to bytes.

`bodies` takes a request's body apart, `rows` makes instances of what it finds, as the model's `signature` wants them,
and `predictions` writes the answer; `tensors` does both for the Open Inference Protocol.
"""
