"""scikit-learn pipelines: the two families, a team's own, and their export to ONNX."""
