"""For schemathesis: good bodies in the media types that it does not know, of the test company's features.

Loaded by schemathesis in its own process; see test_openapi.py.
"""

import csv
import io
import json
import os

import schemathesis
from hypothesis import strategies as st

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from("abc") | st.none()
NAMES = ("events", "amount", "is_busy", "kind")
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, TEXTS), min_size=1, max_size=5)


def as_csv(rows: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if os.environ["CSV_HEADER"] == "present":
        writer.writerow(NAMES)
    for row in rows:
        writer.writerow(json.dumps(cell) if isinstance(cell, bool) else cell for cell in row)
    return text.getvalue().encode()


def as_lines(rows: list[tuple[object, ...]]) -> bytes:
    return b"".join(json.dumps(dict(zip(NAMES, row, strict=True))).encode() + b"\n" for row in rows)


schemathesis.openapi.media_type("text/csv", ROWS.map(as_csv))
schemathesis.openapi.media_type("application/jsonlines", ROWS.map(as_lines))


@schemathesis.hook
def before_load_schema(context: object, raw_schema: dict[str, dict[str, dict[str, dict]]]) -> None:
    """Take these media types' examples out: it wants bytes. `test_every_example_works` sends them."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                if kind in {"text/csv", "application/jsonlines"}:
                    content.pop("example", None)


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case, kwargs: object) -> None:
    """Let the shapes and datatypes of a good request's tensors fit their data and each other.

    That no schema can say of shapes, and of datatypes only at great length.
    """
    if not case.operation.path.endswith("/infer") or not case.meta.generation.mode.is_positive:
        return
    rows = min(20, *(len(tensor["data"]) for tensor in case.body["inputs"]))
    for tensor in case.body["inputs"]:
        tensor["data"], tensor["shape"][0] = tensor["data"][:rows], rows
        tensor["datatype"] = "BYTES" if tensor["datatype"] == "BYTES" else "FP64"
