import doctest

from pipeline.reporting import words


def test_the_examples_are_true():
    results = doctest.testmod(words)
    assert results.attempted > 10
    assert results.failed == 0
