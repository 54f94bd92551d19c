import doctest

import pytest

from pipeline.reporting import filters, sentences


@pytest.mark.parametrize(("module", "examples"), [(filters, 10), (sentences, 5)])
def test_the_examples_are_true(module, examples):
    results = doctest.testmod(module)
    assert results.attempted > examples
    assert results.failed == 0
