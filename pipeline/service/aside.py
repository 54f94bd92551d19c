"""Work on files and with Airflow, done in threads of its own: however slow it is, predictions need not wait for it.

The one entry point is `aside`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

THREADS = 8

_P = ParamSpec("_P")
_R = TypeVar("_R")
_pool = ThreadPoolExecutor(THREADS, "aside")


async def aside(work: Callable[_P, _R], *arguments: _P.args, **options: _P.kwargs) -> _R:
    """Return what `work` returns, called in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_pool, partial(work, *arguments, **options))
