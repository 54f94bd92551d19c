"""Clients that others wrote for these contracts: MLflow's client, Triton's, SageMaker's local mode, curl."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
import urllib3
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

from tests.service.asking import FEATURES, GOOD, as_csv, json_lines, objects
from tests.service.server import Server

ROWS = [*GOOD, [9, 1.5, True, "b"]]


@pytest.fixture(scope="module")
def server(serve) -> Server:
    return serve()


@pytest.fixture(scope="module")
def numbers(server: Server) -> np.ndarray:
    """Our own API's scores of the rows."""
    answered = urllib3.request("POST", f"{server.url}/predict", json={"instances": objects(ROWS)})
    return np.array([row["satisfaction"] for row in answered.json()["predictions"]])


# MLflow's own client


@pytest.fixture(scope="module")
def mlflow_client(server: Server) -> ScoringServerClient:
    client = ScoringServerClient("127.0.0.1", server.port)
    client.wait_server_ready(timeout=10)
    return client


def test_mlflows_client_gets_a_frame_of_predictions(mlflow_client, numbers):
    import mlflow

    assert mlflow_client.get_version() == mlflow.__version__
    frame = pd.DataFrame(ROWS, columns=FEATURES)
    assert frame.isna().any().any(), "pandas' missing values, which the client writes as NaN, are the hard part"
    found = mlflow_client.invoke(frame[[*reversed(FEATURES)]], params={"any": 1}).get_predictions()
    assert [*found.columns] == ["satisfaction", "satisfied", "model_version", "role", "words"]
    np.testing.assert_array_equal(found["satisfaction"], numbers)
    assert found["satisfied"].dtype == bool


def test_mlflows_client_may_send_lists_and_arrays(mlflow_client, numbers):
    records = objects(ROWS)
    as_text = json.dumps({"dataframe_records": records})  # what is text already goes as it is
    for data in (records, ROWS, np.array(ROWS, dtype=object), as_text):
        found = mlflow_client.invoke(data).get_predictions()
        np.testing.assert_array_equal(found["satisfaction"], numbers)


def test_mlflows_client_gets_the_row_and_the_field(mlflow_client):
    frame = pd.DataFrame([*ROWS, [1, "many", True, "a"]], columns=FEATURES)
    with pytest.raises(Exception, match=r"error code 422.*BAD_REQUEST.*row 4, field amount"):
        mlflow_client.invoke(frame)


# Triton's


@pytest.fixture(scope="module")
def triton_client(server: Server):
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def tensors(*, binary: bool, deep: bool = False) -> list[triton.InferInput]:
    found = []
    for at, name in enumerate(FEATURES):
        column = [row[at] for row in ROWS]
        if name == "kind":
            array = np.array([text or "" for text in column], dtype=object)
        else:
            array = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        array = array.reshape(-1, 1) if deep else array
        one = triton.InferInput(name, [*array.shape], "BYTES" if name == "kind" else "FP64")
        found.append(one.set_data_from_numpy(array, binary_data=binary))
    return found


def test_tritons_client_finds_the_model(triton_client):
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready("satisfaction")
    assert triton_client.is_model_ready("satisfaction", "7")
    assert not triton_client.is_model_ready("satisfaction", "8")
    assert not triton_client.is_model_ready("other")
    assert triton_client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton_client.get_model_metadata("satisfaction")
    assert [(each["name"], each["datatype"]) for each in metadata["inputs"]] == [
        (name, "BYTES" if name == "kind" else "FP64") for name in FEATURES
    ]


@pytest.mark.parametrize("deep", [False, True])
def test_tritons_client_sends_numpy_as_it_does_by_default(deep, triton_client, numbers):
    found = triton_client.infer("satisfaction", tensors(binary=True, deep=deep), request_id="one")
    np.testing.assert_array_equal(found.as_numpy("satisfaction"), numbers)
    assert found.as_numpy("satisfied").tolist() == (numbers >= 0.5).tolist()
    assert found.as_numpy("model_version").tolist() == [b"7"] * len(ROWS)
    assert all(b"satisfied" in words for words in found.as_numpy("words"))
    assert (found.get_response()["id"], found.get_response()["model_version"]) == ("one", "7")


def test_tritons_client_may_ask_for_some_outputs(triton_client, numbers):
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput("satisfaction", binary_data=binary)]
        found = triton_client.infer("satisfaction", tensors(binary=True), "7", outputs=outputs)
        np.testing.assert_array_equal(found.as_numpy("satisfaction"), numbers)
        assert found.as_numpy("satisfied") is None


def test_tritons_client_may_send_json(triton_client):
    """A missing text is empty there, since the client knows no null; it writes NaN as it is."""
    as_bytes = triton_client.infer("satisfaction", tensors(binary=True)[:3] + tensors(binary=False)[3:])
    as_json = triton_client.infer("satisfaction", tensors(binary=False))
    np.testing.assert_array_equal(as_json.as_numpy("satisfaction"), as_bytes.as_numpy("satisfaction"))


def test_tritons_client_gets_the_error(triton_client):
    with pytest.raises(InferenceServerException, match=r"\[404\] The version '8' is not in charge"):
        triton_client.infer("satisfaction", tensors(binary=True), model_version="8")
    with pytest.raises(InferenceServerException, match=r"field amount.*absent"):
        triton_client.infer("satisfaction", [*tensors(binary=True)[:1], *tensors(binary=True)[2:]])
    with pytest.raises(InferenceServerException, match="there is no output"):
        triton_client.infer("satisfaction", tensors(binary=True), outputs=[triton.InferRequestedOutput("other")])


# SageMaker's local mode, whose requests these are: sagemaker/local/entities.py and local_session.py, SDK 2


def transform(url: str, content: str, kind: str, accept: str | None) -> bytes:
    """Do as a local transform job does with one file that it splits by lines."""
    http = urllib3.PoolManager()
    while http.request("GET", f"{url}/ping").status != 200:
        pass
    told = http.request("GET", f"{url}/execution-parameters")
    parameters = json.loads(told.data)
    assert (told.status, parameters["BatchStrategy"]) == (200, "MULTI_RECORD")
    most, found, buffer = parameters["MaxPayloadInMB"] * 2**20, b"", ""
    for line in [*content.splitlines(keepends=True), None]:
        if line is not None and len(buffer) + len(line) < most:
            buffer += line
            continue
        headers = {"Content-type": kind} | ({"Accept": accept} if accept else {})
        answered = http.request("POST", f"{url}/invocations", body=buffer, headers=headers, preload_content=False)
        assert answered.status == 200
        found += answered.read().strip() + b"\n"  # AssembleWith=Line
        buffer = line or ""
    return found


@pytest.mark.parametrize("accept", [None, "application/jsonlines"])
@pytest.mark.parametrize("kind", ["text/csv", "application/jsonlines"])
def test_a_local_transform_job_gets_a_line_for_each_line(kind, accept, serve, numbers):
    server = serve(contract="sagemaker", body_bytes=2**20)
    times = 80_000 // len(ROWS)
    rows = ROWS * times
    lines = as_csv(rows, None) if kind == "text/csv" else json_lines(rows)
    broken = lines.replace(b"\n", b'\nbroken "line\n', 1).decode()
    found = transform(server.url, broken, kind, accept).splitlines()
    assert len(lines) > 2**20, "a job of more than one request"
    assert len(found) == len(rows) + 1
    assert b"error" in found[1] or found[1].startswith(b",")
    del found[1]
    form = accept or kind
    if form == "text/csv":
        values = [float(line.split(b",")[0]) for line in found]
    else:
        values = [json.loads(line)["satisfaction"] for line in found]
    np.testing.assert_array_equal(values, np.tile(numbers, times))


# curl


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_asks_every_contract(server: Server, serve, tmp_path: Path, numbers):
    def curl(*arguments: str) -> bytes:
        done = subprocess.run(["curl", "-sSf", *arguments], capture_output=True, check=True, timeout=30)
        return done.stdout

    file = tmp_path / "rows.csv"
    file.write_bytes(as_csv(ROWS, FEATURES))
    csv = ["-H", "Content-Type: text/csv", "--data-binary", f"@{file}"]
    for url in (f"{server.url}/predict", f"{server.url}/invocations"):
        found = json.loads(curl(*csv, url))["predictions"]
        np.testing.assert_array_equal([row["satisfaction"] for row in found], numbers)
    instances = json.dumps({"instances": ROWS})
    for contract, path in (("vertex", "/predict"), ("azure", "/score"), ("sagemaker", "/invocations")):
        url = serve(contract=contract).url + path
        found = json.loads(curl("-H", "Content-Type: application/json", "-d", instances, url))["predictions"]
        np.testing.assert_array_equal([row["satisfaction"] for row in found], numbers)
    file.write_bytes(as_csv(ROWS, None))
    assert len(curl(*csv, f"{serve(contract='sagemaker').url}/invocations").splitlines()) == len(ROWS)
