"""Bytes to rows, and predictions to bytes.

`bodies` and `forms` take a request's body apart, `rows` makes instances of what they find, as the model's `signature`
wants them, and `predictions` writes the answer; `tensors` does both for the Open Inference Protocol.
"""
