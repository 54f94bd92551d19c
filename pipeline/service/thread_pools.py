"""Threads for work that waits for the warehouse, for files or for Airflow, apart from those that compute.

However slow that work is, predictions go on: they need none of these threads. A bounded number of requests may be in a
pool or wait for it. Entry points: `warehouse`, `pages` and `files`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from threading import Semaphore
from typing import ParamSpec, TypeVar

from pipeline.errors import RequestError

THREADS = 8
MOST_WAITING = 64
"""Of each pool. All pools together leave a quarter of the default `concurrent_requests` for predictions."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_is_let_in: ContextVar[bool] = ContextVar("is_let_in", default=False)
"""Of a request and the tasks that it starts: an upload or a response that has begun is not refused half way."""


class ThreadPool:
    """Threads for one kind of work, so that no kind waits for another."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(THREADS, name)
        self._room = Semaphore(MOST_WAITING)

    async def __call__(self, work: Callable[_P, _R], *arguments: _P.args, **options: _P.kwargs) -> _R:
        """Return what `work` returns, called in a thread; raise RequestError 503 when too many requests wait."""
        has_room = self._room.acquire(blocking=False)
        if not has_room and not _is_let_in.get():
            found = f"{MOST_WAITING} requests of this kind are waiting already."
            do = "try again in a second; predictions of features that are sent whole go on."
            raise RequestError(503, found, "fewer at once.", do, headers={"retry-after": "1"})
        _is_let_in.set(True)
        future = self._pool.submit(partial(work, *arguments, **options))
        if has_room:  # until the work has ended, though the client may have gone
            future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)


warehouse = ThreadPool("warehouse")
pages = ThreadPool("pages")
files = ThreadPool("files")
"""Files of rows, and Airflow that scores them."""
