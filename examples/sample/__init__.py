"""The sample company: made-up data whose true probabilities are known."""

from examples.sample.generate import ensure, generate, true_probabilities
from examples.sample.summary import SampleSummary

__all__ = ["SampleSummary", "ensure", "generate", "true_probabilities"]
