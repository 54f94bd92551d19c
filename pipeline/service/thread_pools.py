"""Work that waits for something else (the warehouse, files, Airflow), in threads apart from those that compute.

However slow it is, predictions go on: they need none of these threads, and only so many requests may be in them or wait
for one, which leaves room among the requests that are answered at once. Entry points: `warehouse`, `pages`, `aside`.
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
MOST = 64
"""Of each kind; with all kinds together a quarter of the default `concurrent_requests` is left for predictions."""
RETRY_SECONDS = "1"

_P = ParamSpec("_P")
_R = TypeVar("_R")
_is_let_in: ContextVar[bool] = ContextVar("is_let_in", default=False)
"""Of a request and the tasks that it starts: what has begun (an upload, a response) is not refused half way."""


class Aside:
    """Threads for one kind of work, so that no kind waits for another."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(THREADS, name)
        self._room = Semaphore(MOST)

    async def __call__(self, work: Callable[_P, _R], *arguments: _P.args, **options: _P.kwargs) -> _R:
        """Return what `work` returns, called in a thread.

        Raises
        ------
        RequestError
            503, when too many are waiting already.
        """
        has_room = self._room.acquire(blocking=False)
        if not has_room and not _is_let_in.get():
            raise _too_many()
        _is_let_in.set(True)
        future = self._pool.submit(partial(work, *arguments, **options))
        if has_room:  # until the work has ended, though who asked may have gone
            future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)


warehouse = Aside("warehouse")
pages = Aside("pages")
aside = Aside("aside")
"""Files of rows, and Airflow."""


def _too_many() -> RequestError:
    return RequestError(
        503,
        f"{MOST} requests of this kind are waiting already.",
        "fewer at once.",
        "try again in a second; predictions of features that are sent whole go on.",
        headers={"retry-after": RETRY_SECONDS},
    )
