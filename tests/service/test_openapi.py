"""The service does exactly what `/openapi.json` describes: all checks of schemathesis, for every contract."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.service.access import key_file
from pipeline.settings import Settings
from pipeline.settings.settings import ROOT
from tests.service.server import VERSION, Server
from tests.service.whole import whole_service

CONFIG = """
hooks = "tests.service.schemathesis_hooks"
cache = {{ enabled = false }}
warnings = false

[generation]
deterministic = true
max-examples = {examples}

[auth.openapi]
bearer = {{ bearer = "{key}" }}
header = {{ api_key = "{key}" }}
browser = {{ username = "anyone", password = "{key}" }}

[parameters]
"path.model" = "satisfaction"
"path.version" = "{version}"
"path.customer_id" = "c0000"
"path.product_id" = "p0"

[checks]
# What it expects anyway, and 413: too many rows are too large.
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422"]

[phases.stateful]
generation.max-examples = 5

[[operations]]  # no Airflow runs beside this service
include-path-regex = "^/batch-predictions"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
checks.negative_data_rejection.expected-statuses = ["4xx", "503"]
"""


def findings(server: Server, folder: Path, *, key: str, version: str, csv_header: str, examples: int) -> str:
    """Return the output of schemathesis; fail if it finds anything."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG.format(key=key, version=version, examples=examples))
    assert tomllib.loads(config.read_text())
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config-file", config, "run", f"{server.url}/openapi.json", "--no-color"],
        env=os.environ | {"CSV_HEADER": csv_header, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def admins_key(settings: Settings) -> str:
    return key_file.create(settings.path(settings.service.keys_file), "schemathesis", ["admin"])[1]


def test_our_own_contract(warehouse_settings, tmp_path):
    """With a warehouse: the record of all these requests must not harm it either."""
    key = admins_key(warehouse_settings)
    (warehouse_settings.home / "airflow").mkdir(exist_ok=True)
    (warehouse_settings.home / "airflow" / "passwords.json").touch()  # an Airflow was up once, and is down
    with whole_service(warehouse_settings, auth="keys", rows=20) as server:
        findings(server, tmp_path, key=key, version="1", csv_header="present", examples=40)
        recorder = server.application.recorder
    assert recorder.written > 100
    assert (recorder.waiting, recorder.dropped) == (0, 0)


@pytest.mark.parametrize("contract", ["sagemaker", "vertex", "azure"])
def test_a_clouds_contract(serve, tmp_path, contract):
    server = serve(contract=contract, auth="keys", rows=20)
    key = admins_key(server.application.settings)
    findings(server, tmp_path, key=key, version=VERSION, csv_header="absent", examples=20)


@pytest.mark.parametrize("contract", ["barometer", "sagemaker", "vertex", "azure"])
def test_every_example_works(serve, contract):
    server = serve(contract=contract)
    sent = 0
    with httpx.Client(base_url=server.url) as client:
        document = client.get("/openapi.json").json()
        for path, operations in document["paths"].items():
            if path.startswith("/batch-predictions"):
                continue  # not without Airflow
            filled = path.replace("{model}", "satisfaction").replace("{version}", VERSION)
            for method, operation in operations.items():
                for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                    for example in examples_of(content):
                        body = example if isinstance(example, str) else json.dumps(example)
                        answered = client.request(method, filled, content=body, headers={"Content-Type": kind})
                        assert answered.status_code == 200, f"{path}, {kind}: {answered.text}"
                        sent += 1
    assert sent


def examples_of(content: dict[str, Any]) -> list[Any]:
    found = [example["value"] for example in content.get("examples", {}).values()]
    return [*found, content["example"]] if "example" in content else found
