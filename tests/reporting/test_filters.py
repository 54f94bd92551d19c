import doctest

from pipeline.reporting import filters


def test_the_examples_are_true():
    results = doctest.testmod(filters)
    assert results.attempted > 10
    assert results.failed == 0
