"""Work on several items at a time in threads, in bounded memory. Entry points: `in_order` and `threads`."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pipeline.settings import Settings

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `function` of each item, in order, while threads work on the next few items."""
    ahead = deque[Future[Result]]()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def threads(settings: Settings) -> int:
    """Return the number of threads: as configured, or the number of cores, but at most 8, as each holds a batch."""
    return settings.resources.threads or min(os.cpu_count() or 1, 8)
