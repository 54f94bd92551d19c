"""Threads work ahead, but only a little; results and errors come in order."""

import time

import pytest

from pipeline.parallel import in_order


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_only_a_few_items_are_taken_ahead(threads: int) -> None:
    taken: list[int] = []

    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    results = in_order(slow_at_first, (taken.append(item) or item for item in range(20)), threads)
    for number, result in enumerate(results):
        assert result == number * number
        assert len(taken) <= number + threads + 1
    assert len(taken) == 20


def test_an_error_ends_it_after_the_results_before_it() -> None:
    results = in_order(lambda item: 6 // item, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
