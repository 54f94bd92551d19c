"""The scikit-learn pipelines that a training fits, and the one way from a fitted pipeline to a version's files."""
