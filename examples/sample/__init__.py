"""The sample company: a feed that is made up, and known to the last probability."""

from examples.sample.generate import ensure, generate, true_probabilities
from examples.sample.summary import SampleSummary

__all__ = ["SampleSummary", "ensure", "generate", "true_probabilities"]
