"""What contracts of others share: large work is done in a thread, and NaN is read as null."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from starlette.responses import Response

from pipeline.service.contracts.standard import LONG_ROWS, SMALL_BYTES, Standard
from pipeline.service.instances.bodies import null_for_nan
from pipeline.service.instances.signature import Instances
from tests.service.calls import call_of


@pytest.mark.parametrize(
    ("size", "rows", "expected"),
    [
        (SMALL_BYTES, LONG_ROWS, [True, True]),
        (SMALL_BYTES + 1, LONG_ROWS, [False, True]),
        (SMALL_BYTES, LONG_ROWS + 1, [True, False]),
    ],
)
def test_a_large_body_is_read_and_a_long_answer_written_in_a_thread(size, rows, expected):
    is_on_loop = []

    def noted(returned):
        is_on_loop.append(threading.current_thread() is threading.main_thread())
        return returned

    class Nothing:
        serving = SimpleNamespace(signature=None)

        async def predict(self, *_given):
            return []

    standard = Standard(Nothing(), Nothing(), 1, lambda _: {})
    route = standard.predictions("/", lambda *_: noted(Instances([()] * rows)), lambda *_: noted(Response()))
    asyncio.run(route.endpoint(call_of(content=b" " * size)))
    assert is_on_loop == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":[NaN,1.5,"NaN"]}', b'{"a":[null,1.5,"NaN"]}'),
        (b'{"a":[0.1,1e-320,123456789012345678,NaN]}', b'{"a":[0.1,1e-320,123456789012345678,null]}'),
        (b'{"a": [1, 2]}', b'{"a": [1, 2]}'),
        (b'{"a":[NaN,Infinity]}', b'{"a":[null,1e999]}'),
        (b'{"a":[-Infinity]}', b'{"a":[-1e999]}'),
        (b'{"a":[NaN,1e400,-1e400]}', b'{"a":[null,1e400,-1e400]}'),
        (b'{"a":NaN', None),
        (b'{"a":[NaN,"\xff"]}', None),
        (b'{"a":[NaN,"\\ud800"]}', None),
        (b'{"a":[NaN,' + b"9" * 5000 + b"]}", b'{"a":[null,' + b"9" * 5000 + b"]}"),
        (b'{"a":[NaN,' + b"9" * 30 + b"]}", b'{"a":[null,' + b"9" * 30 + b"]}"),
        (b'{"a":[NaN,' + b"[" * 100_000, None),
    ],
)
def test_nan_alone_is_replaced(body, expected):
    """None: the body stays, and the next decoder refuses it."""
    assert null_for_nan(body) == (body if expected is None else expected)
