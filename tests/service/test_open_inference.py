"""The Open Inference Protocol: metadata, versions, tensors as JSON and as bytes, errors."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

import pipeline
from pipeline.service.instances.predictions import Prediction
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Instances
from pipeline.service.instances.tensors import Request, instances_of, response
from tests.service.asking import FEATURES, GOOD, TEXTS, bytes_of
from tests.service.server import Server

MODEL = "/v2/models/satisfaction"
TENSOR = {"name", "datatype", "shape"}


@pytest.fixture(scope="module")
def server(serve) -> Server:
    return serve(rows=50)


@pytest.fixture(scope="module")
def client(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


def inputs(rows: list[list[Any]] = GOOD, **changes: Any) -> list[dict[str, Any]]:
    """Inputs of these rows; `amount={"shape": [1]}` changes that of one."""
    return [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES" if name in TEXTS else "FP64",
            "data": [row[at] for row in rows],
            **changes.get(name, {}),
        }
        for at, name in enumerate(FEATURES)
    ]


def read(server: Server, body: dict[str, Any], behind: bytes = b"") -> Instances:
    signature = server.application.current.serving.signature
    return instances_of(msgspec.convert(body, Request), behind, Reader(signature, 50))


def infer(client: httpx.Client, body: Any, path: str = MODEL, behind: bytes = b"", **headers: str) -> httpx.Response:
    content = json.dumps(body).encode()
    if behind:
        headers = {"inference-header-content-length": str(len(content)), **headers}
    return client.post(f"{path}/infer", content=content + behind, headers=headers)


@pytest.fixture(scope="module")
def numbers(client) -> list[float]:
    return infer(client, {"inputs": inputs()}).json()["outputs"][0]["data"]


def test_the_metadata_describes_the_server_and_the_model(client):
    told = client.get("/v2").json()
    assert told == {"name": "barometer", "version": pipeline.__version__, "extensions": ["binary_tensor_data"]}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in (MODEL, f"{MODEL}/versions/7"):
        assert client.get(f"{path}/ready").json() == {"name": "satisfaction", "ready": True}
        found = client.get(path).json()
        assert (found["name"], found["versions"], found["platform"]) == ("satisfaction", ["7"], "barometer")
        expected = [(name, "BYTES" if name in TEXTS else "FP64", [-1]) for name in FEATURES]
        assert [(each["name"], each["datatype"], each["shape"]) for each in found["inputs"]] == expected
        assert {each["name"]: each["datatype"] for each in found["outputs"]} == {
            "satisfaction": "FP64",
            "satisfied": "BOOL",
            "model_version": "BYTES",
            "role": "BYTES",
            "words": "BYTES",
        }
        assert all(set(each) == TENSOR for each in found["inputs"] + found["outputs"])


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/other/versions/7", f"{MODEL}/versions/8"])
def test_a_model_or_version_that_is_not_in_charge_is_not_found(path, client):
    answers = [client.get(path), client.get(f"{path}/ready"), infer(client, {"inputs": inputs()}, path)]
    assert [answered.status_code for answered in answers] == [404] * 3
    assert all(set(answered.json()) == {"error"} for answered in answers)


def test_a_response_names_the_model_and_echoes_the_id(client):
    found = infer(client, {"id": "ünique 1", "inputs": inputs(), "parameters": {"any": 1}}).json()
    assert (found["model_name"], found["model_version"], found["id"]) == ("satisfaction", "7", "ünique 1")
    by_name = {each["name"]: each for each in found["outputs"]}
    assert all(each["shape"] == [3] and len(each["data"]) == 3 for each in by_name.values())
    assert by_name["satisfied"]["data"] == [value >= 0.5 for value in by_name["satisfaction"]["data"]]
    assert (by_name["model_version"]["data"], by_name["role"]["data"]) == (["7"] * 3, ["champion"] * 3)
    assert "id" not in infer(client, {"inputs": inputs()}).json()


def test_outputs_are_chosen(client, numbers):
    wanted = [{"name": "satisfied"}, {"name": "satisfaction", "parameters": {"binary_data": False}}]
    found = infer(client, {"inputs": inputs(), "outputs": wanted}).json()["outputs"]
    assert [each["name"] for each in found] == ["satisfied", "satisfaction"]
    assert found[1]["data"] == numbers
    again = infer(client, {"inputs": inputs(), "outputs": wanted * 1000}).json()["outputs"]
    assert again == found, "a small request gets no huge answer"
    assert infer(client, {"inputs": inputs(), "outputs": [{"name": "other"}]}).status_code == 400


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT8", "INT64", "UINT16"])
def test_numbers_of_any_datatype_are_numbers(datatype, client):
    rows = [[3, 20, 1, "a"], [4, 21, 0, "b"]]
    expected = infer(client, {"inputs": inputs(rows)}).json()["outputs"][0]["data"]
    changes = {name: {"datatype": datatype, "shape": [2, 1]} for name in FEATURES if name not in TEXTS}
    found = infer(client, {"inputs": inputs(rows, **changes)})
    assert found.json()["outputs"][0]["data"] == expected
    kind = {"FP32": "<f", "FP64": "<d", "INT8": "<b", "INT64": "<q", "UINT16": "<H"}[datatype]
    as_bytes, behind = inputs(rows, **changes), b""
    for each in as_bytes:
        data = each.pop("data")
        part = bytes_of("kind", data) if each["name"] in TEXTS else b"".join(struct.pack(kind, cell) for cell in data)
        each["parameters"] = {"binary_data_size": len(part)}
        behind += part
    assert infer(client, {"inputs": as_bytes}, behind=behind).json()["outputs"][0]["data"] == expected


def test_customer_and_product_are_taken_as_inputs(server, client, numbers):
    who = {"customer_id": ["x", "y", None], "product_id": ["p", None, "p"]}
    body = {"inputs": inputs()}
    body["inputs"] += [{"name": name, "shape": [3], "datatype": "BYTES", "data": data} for name, data in who.items()]
    assert infer(client, body).json()["outputs"][0]["data"] == numbers
    found = read(server, body)
    assert found.keys == [("x", "p"), ("y", None), (None, "p")]


def test_truth_values_and_texts_may_be_bytes(server):
    """Bytes have no null, so an empty text is missing; in JSON it is a text like any other."""
    body, parts = {"inputs": inputs([[3, 20, None, ""], [4, 21, False, "b"]])}, [b"\1\0", bytes_of("kind", [None, "b"])]
    found = read(server, body)
    assert found.values == [(3, 20, None, ""), (4, 21, False, "b")]
    for each, part in zip(body["inputs"][2:], parts, strict=True):
        each |= {"data": None, "parameters": {"binary_data_size": len(part)}}
    body["inputs"][2]["datatype"] = "BOOL"
    found = read(server, body, b"".join(parts))
    assert found.values == [(3, 20, True, None), (4, 21, False, "b")]


@pytest.mark.parametrize(
    ("amount", "where"),
    [
        ({"datatype": "FP8"}, "field amount"),
        ({"datatype": "FP64", "shape": [3, 2]}, "field amount"),
        ({"shape": []}, "field amount"),
        ({"shape": [-1]}, ""),
        ({"shape": [2]}, "field amount"),
        ({"shape": [10**30]}, ""),
        ({"data": None}, "field amount"),
        ({"data": [[1], [2], [3]]}, "row 0, field amount"),
        ({"data": [[1], 2, 3], "shape": [3, 1]}, "row 0, field amount"),
        ({"data": [1, "lots", 3]}, "row 1, field amount"),
        ({"data": [1, 2, 1e39]}, "row 2, field amount"),
        ({"data": [1, {}, 3]}, "row 1, field amount"),
        ({"datatype": "UINT8", "data": [1, 2, 300]}, "row 2, field amount"),
        ({"datatype": "INT8", "data": [1, -129, None]}, "row 1, field amount"),
        ({"datatype": "INT64", "data": [1, 1.7, 3]}, "row 1, field amount"),
        ({"datatype": "INT64", "data": [1, 2, 2**63]}, "row 2, field amount"),
        ({"datatype": "UINT64", "data": [1, 2, 10**30]}, "row 2, field amount"),
        ({"datatype": "FP16", "data": [1, 2, 65505]}, "row 2, field amount"),
        ({"datatype": "BOOL", "data": [0, 5, 1]}, "row 1, field amount"),
        ({"datatype": "BOOL", "data": [0, 1, 0.5]}, "row 2, field amount"),
        ({"data": [[1, 1], [], [1]], "shape": [3, 1]}, "row 0, field amount"),
        ({"data": {}}, ""),
        ({"name": "price"}, "field price"),
        ({"name": "events"}, "field events"),
        ({"name": 1}, ""),
    ],
)
def test_a_wrong_input_is_refused_by_name(amount, where, client):
    answered = infer(client, {"inputs": inputs(amount=amount)})
    assert answered.status_code == 400, answered.text
    assert set(answered.json()) == {"error"}
    assert answered.json()["error"].startswith(f"[{where}]" if where else "")
    assert "lots" not in answered.text


def test_a_request_of_another_form_is_refused(client):
    one = {"inputs": inputs(GOOD[:1])}
    for body in ([], {}, {"inputs": []}, {"inputs": 1}, one | {"id": 1}, one | {"outputs": 1}, one | {"parameters": 1}):
        assert infer(client, body).status_code == 400, body
    assert infer(client, {"inputs": inputs(GOOD[:1])[:3]}).status_code == 400
    assert infer(client, {"inputs": inputs([[]] * 0, **{n: {"data": []} for n in FEATURES})}).status_code == 400
    for rows in (GOOD * 17, [*GOOD * 17, ["x"] * 4]):
        assert infer(client, {"inputs": inputs(rows)}).status_code == 413
    path = f"{MODEL}/infer"
    for content in (
        b"",
        b"{",
        b"\xff",
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": ' + b"[" * 9999,
    ):
        assert client.post(path, content=content).status_code == 400
    assert client.post(path, content=b"{}", headers={"content-type": "text/csv"}).status_code == 415


@pytest.mark.parametrize(
    ("name", "size", "part"),
    [
        ("amount", 24, b"\0" * 23),
        ("amount", 23, b"\0" * 23),
        ("amount", -1, b"\0" * 24),
        ("amount", 10**30, b"\0" * 24),
        ("amount", True, b"\0"),
        ("amount", "24", b"\0" * 24),
        ("amount", 24, struct.pack("<3d", 1, 2, float("inf"))),
        ("kind", 12, struct.pack("<III", 1, 0, 0)),
        ("kind", 4, struct.pack("<I", 2**32 - 1)),
        ("kind", 10, struct.pack("<I1sI1s", 1, b"a", 1, b"a")),
        ("kind", 14, struct.pack("<I1sI1sI", 1, b"a", 1, b"a", 9)),
        ("kind", 15, struct.pack("<I1sI1sI1s", 1, b"a", 1, b"\xff", 1, b"a")),
    ],
)
def test_wrong_bytes_are_refused(name, size, part, client):
    body = {"inputs": inputs(**{name: {"data": None, "parameters": {"binary_data_size": size}}})}
    answered = infer(client, body, behind=part)
    assert answered.status_code == 400, answered.text
    assert f"field {name}]" in answered.json()["error"]


@pytest.mark.parametrize("behind", [b"x", b"\0" * 25])
def test_bytes_that_belong_to_no_input_are_refused(behind, client):
    mixed = inputs(amount={"data": None, "parameters": {"binary_data_size": 24}})
    assert infer(client, {"inputs": mixed}, behind=b"\0" * 24).status_code == 200
    for found in (inputs(), mixed):
        answered = infer(client, {"inputs": found}, behind=b"\0" * 24 * (found is mixed) + behind)
        assert answered.status_code == 400
        assert "bytes" in answered.json()["error"]


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("UINT8", [0, 255, None]),
        ("INT8", [-128, 127, 1.0]),
        ("INT64", [-(2**63), 2**63 - 1, True]),
        ("UINT64", [0, 2**64 - 1, None]),
        ("FP16", [65504, -65504, 0.1]),
        ("BOOL", [True, False, None]),
        ("BOOL", [0, 1, 1.0]),
    ],
)
def test_values_of_an_inputs_datatype_are_taken(datatype, values, client):
    answered = infer(client, {"inputs": inputs(amount={"datatype": datatype, "data": values})})
    assert answered.status_code == 200, answered.text


@pytest.mark.parametrize(("versions", "said"), [("777", "7"), ("888", "8"), ("787", None)])
def test_the_response_has_a_version_if_it_is_that_of_all_rows(versions, said):
    """An A/B test's challenger makes some rows; then only the output `model_version` has the versions."""
    made = [Prediction(0.5, True, version, "some role", "words") for version in versions]
    body = json.loads(response(Request([]), made, "satisfaction").body)
    assert body.get("model_version") == said
    assert {each["name"]: each for each in body["outputs"]}["model_version"]["data"] == [*versions]


@pytest.mark.parametrize("length", ["x", "-1", "", "1e3", "9" * 400, "0" * 5000, "100000", "٣"])
def test_a_wrong_length_of_the_json_is_refused(length, client):
    headers = {b"inference-header-content-length": length.encode()}
    answered = client.post(f"{MODEL}/infer", content=json.dumps({"inputs": inputs()}).encode(), headers=headers)
    assert answered.status_code == 400, answered.text
