"""Every way to ask the service for predictions, by its contract: rows in, what it says of each out.

`WAYS[name](client, rows)` sends rows (a value, or None for a missing one, in the order of `FEATURES`) and returns the
predictions as dicts, in order.
"""

import csv
import io
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import numpy as np

FEATURES = ("events", "amount", "is_busy", "kind")
"""Of the tests' company."""
TEXTS = {"kind"}
GOOD: list[list[Any]] = [[3, 20.5, True, "a"], [None, 7.0, False, "never seen"], [40, None, None, None]]
BAD = [3, "many", True, "a"]
MIXED = [GOOD[0], BAD, GOOD[1]]
Row = Sequence[Any]
Way = Callable[[httpx.Client, Sequence[Row]], list[dict[str, Any]]]
JSON, CSV, LINES = "application/json", "text/csv", "application/jsonlines"
WAYS: dict[str, dict[str, Way]] = {"barometer": {}, "sagemaker": {}, "vertex": {}, "azure": {}}
"""By contract, then by name."""


def as_object(row: Row) -> dict[str, Any]:
    return dict(zip(FEATURES, row, strict=True))


def as_csv(rows: Sequence[Row], header: Sequence[str] | None) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([*([header] if header else []), *rows])
    return text.getvalue().encode()


def invoked(
    client: httpx.Client, body: Any, kind: str = JSON, path: str = "/invocations", **headers: str
) -> httpx.Response:
    """Post a body, which is encoded as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"content-type": kind, **headers})


def post(client: httpx.Client, path: str, body: Any, kind: str = JSON, **headers: str) -> httpx.Response:
    answered = invoked(client, body, kind, path, **headers)
    assert answered.status_code == 200, answered.text
    return answered


@contextmanager
def clients_of(serve: Callable[..., Any], **service: object) -> Iterator[dict[str, httpx.Client]]:
    """Yield a client of a service of each contract, by contract."""
    with ExitStack() as stack:
        yield {
            contract: stack.enter_context(httpx.Client(base_url=serve(contract=contract, **service).url, timeout=30))
            for contract in WAYS
        }


def of_json(answered: httpx.Response) -> list[dict[str, Any]]:
    assert answered.headers["content-type"] == JSON
    return answered.json()["predictions"]


def of_lines(answered: httpx.Response) -> list[dict[str, Any]]:
    assert answered.headers["content-type"] == LINES
    return [json.loads(line) for line in answered.content.splitlines()]


def of_csv(answered: httpx.Response) -> list[dict[str, Any]]:
    """What CSV says, with the types that JSON gives it."""
    header = "present" in answered.headers["content-type"]
    names = ["satisfaction", "satisfied", "model_version", "role", "words", "features_week", "error"]
    lines = [*csv.reader(io.StringIO(answered.text, newline=""))]
    if header:
        assert lines.pop(0) == names
    found = [{name: cell for name, cell in zip(names, line, strict=True) if cell} for line in lines]
    types = {"satisfaction": float, "satisfied": {"true": True, "false": False}.__getitem__}
    return [{name: types.get(name, str)(cell) for name, cell in row.items()} for row in found]


def way(
    contract: str, name: str, ask: tuple[str, str], read: Callable[[httpx.Response], Any], accept: str = "*/*"
) -> Any:
    """Make a way of a function from rows to a body; `ask` is the path and the body's media type."""

    def kept(body: Callable[[Sequence[Row]], Any]) -> None:
        WAYS[contract][name] = lambda client, rows: read(post(client, ask[0], body(rows), ask[1], accept=accept))

    return kept


def objects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [as_object(row) for row in rows]


def lists(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(row) for row in rows]


def json_lines(rows: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def shuffled(rows: Sequence[Row]) -> dict[str, Any]:
    """A split frame whose columns are in another order than the model's."""
    return {"columns": FEATURES[::-1], "index": [*range(len(rows))], "data": [row[::-1] for row in lists(rows)]}


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {name: [row[at] for row in rows] for at, name in enumerate(FEATURES)}


for accept, read in ((JSON, of_json), (LINES, of_lines), (CSV, of_csv)):
    way("barometer", f"own JSON to {accept}", ("/predict", JSON), read, accept)(
        lambda rows: {"instances": objects(rows)}
    )
way("barometer", "own CSV with a header", ("/predict", CSV), of_json)(lambda rows: as_csv(rows, FEATURES))
way("barometer", "own CSV, no header", ("/predict", CSV + ";header=absent"), of_json)(lambda rows: as_csv(rows, None))
way("barometer", "own JSON Lines", ("/predict", LINES), of_json)(lambda rows: json_lines(objects(rows)))

for form, made in {
    "dataframe_split": shuffled,
    "dataframe_records": objects,
    "instances": objects,
    "inputs": columns,
}.items():
    way("barometer", f"MLflow {form}", ("/invocations", JSON), of_json)(
        lambda rows, form=form, made=made: {form: made(rows), "params": {}}
    )
way("barometer", "MLflow inputs, rows", ("/invocations", JSON), of_json)(lambda rows: {"inputs": objects(rows)})
way("barometer", "MLflow inputs, lists", ("/invocations", JSON), of_json)(lambda rows: {"inputs": lists(rows)})
way("barometer", "MLflow CSV", ("/invocations", CSV), of_json)(lambda rows: as_csv(rows, FEATURES))

way("sagemaker", "JSON", ("/invocations", JSON), of_json)(lambda rows: {"instances": objects(rows)})
way("sagemaker", "JSON, lists", ("/invocations", JSON), of_json)(lambda rows: {"instances": lists(rows)})
way("sagemaker", "JSON Lines", ("/invocations", LINES), of_lines)(lambda rows: json_lines(objects(rows)))
way("sagemaker", "JSON Lines, lists", ("/invocations", LINES), of_lines)(lambda rows: json_lines(lists(rows)))
way("sagemaker", "CSV", ("/invocations", CSV), of_csv)(lambda rows: as_csv(rows, None))
way("sagemaker", "CSV to JSON Lines", ("/invocations", CSV), of_lines, LINES)(lambda rows: as_csv(rows, None))
way("sagemaker", "CSV with a header", ("/invocations", CSV + "; header=present"), of_csv)(
    lambda rows: as_csv(rows, FEATURES)
)

way("vertex", "objects", ("/predict", JSON), of_json)(lambda rows: {"instances": objects(rows)})
way("vertex", "with parameters", ("/predict", JSON), of_json)(
    lambda rows: {"instances": objects(rows), "parameters": {"any": 1}}
)
way("vertex", "lists", ("/predict", JSON), of_json)(lambda rows: {"instances": lists(rows)})

way("azure", "split", ("/score", JSON), of_json)(lambda rows: {"input_data": shuffled(rows), "params": {}})
way("azure", "split, objects", ("/score", JSON), of_json)(lambda rows: {"input_data": {"data": objects(rows)}})
way("azure", "split, no columns", ("/score", JSON), of_json)(lambda rows: {"input_data": {"data": lists(rows)}})
way("azure", "input_data", ("/score", JSON), of_json)(lambda rows: {"input_data": objects(rows)})
way("azure", "data", ("/score", JSON), of_json)(lambda rows: {"data": objects(rows)})
way("azure", "instances", ("/score", JSON), of_json)(lambda rows: {"instances": objects(rows)})


def tensor(name: str, cells: list[Any], *, deep: bool) -> dict[str, Any]:
    shape = [len(cells), 1] if deep else [len(cells)]
    data = [[cell] for cell in cells] if deep else cells
    return {"name": name, "shape": shape, "datatype": "BYTES" if name in TEXTS else "FP64", "data": data}


def of_tensors(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    data = {output["name"]: output["data"] for output in outputs}
    return [dict(zip(data, cells, strict=True)) for cells in zip(*data.values(), strict=True)]


def infer(*, deep: bool) -> Way:
    def asked(client: httpx.Client, rows: Sequence[Row]) -> list[dict[str, Any]]:
        inputs = [tensor(name, cells, deep=deep) for name, cells in columns(rows).items()]
        answered = post(client, "/v2/models/satisfaction/infer", {"inputs": inputs, "id": "an id"}).json()
        assert answered["id"] == "an id"
        return of_tensors(answered["outputs"])

    return asked


def bytes_of(name: str, cells: list[Any]) -> bytes:
    """Cells as Triton's clients send them: a missing number is NaN, a missing text is empty."""
    if name not in TEXTS:
        return np.array([np.nan if cell is None else cell for cell in cells], "<f8").tobytes()
    texts = [(cell or "").encode() for cell in cells]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def infer_binary(client: httpx.Client, rows: Sequence[Row]) -> list[dict[str, Any]]:
    parts = {name: bytes_of(name, cells) for name, cells in columns(rows).items()}
    inputs = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES" if name in TEXTS else "FP64",
            "parameters": {"binary_data_size": len(part)},
        }
        for name, part in parts.items()
    ]
    head = json.dumps({"inputs": inputs}).encode()
    length = {"inference-header-content-length": str(len(head))}
    body = b"".join([head, *parts.values()])
    answered = post(client, "/v2/models/satisfaction/versions/7/infer", body, "application/octet-stream", **length)
    return of_tensors(answered.json()["outputs"])


WAYS["barometer"] |= {
    "Open Inference": infer(deep=False),
    "Open Inference, nested": infer(deep=True),
    "Open Inference, binary": infer_binary,
}
EVERY_WAY = [(contract, name) for contract, ways in WAYS.items() for name in ways]
