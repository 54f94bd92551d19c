"""The sidecar's speed beside MLflow's server and the ceiling: a bare ASGI app that parses and answers a constant.

    python -m benchmarks.serving [--seconds 10] [--rounds 3] [--requests 200000]

All serve the same model (20 features, 200 trees) from one process each, one after the other; the ceiling runs on the
sidecar's own server. The sidecar has everything on: registry and warehouse, API keys, the record, log and metrics. The
load comes from wrk (Debian's package), on the same machine, so that an idle one with two cores is needed. What bare
ONNX Runtime does with batches of 1,000 rows is measured in this process, in one thread, as the sidecar has it.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.scoring import CATEGORIES, CUTOFF, FEATURES, PARAMETERS, prepare
from pipeline.local.postgres import embedded
from pipeline.models.bundle import open_bundle, seal
from pipeline.settings import Settings, load_settings

PORTS = {"sidecar": 18000, "ceiling": 18001, "MLflow": 18002}
PATHS = {"sidecar": "/predict", "ceiling": "/predict", "MLflow": "/invocations"}
MANY_ROWS = 1_000
BODIES = 32
"""Different bodies, sent in turn."""
READY_SECONDS = 120
CONSTANT = json.dumps(
    {
        "predictions": [
            {
                "satisfaction": 0.18851350247859955,
                "satisfied": False,
                "model_version": "1",
                "role": "champion",
                "words": "Likely not satisfied: 19 of 100 such customers are.",
            }
        ]
    }
).encode()
"""What the ceiling answers: as long as the sidecar's answer."""


@dataclass
class Load:
    """What wrk measured."""

    requests: int
    requests_a_second: float
    median_milliseconds: float


def main() -> None:
    """Print each measure beside what is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--ceiling", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ceiling:
        serve_ceiling()
        return
    if shutil.which("wrk") is None:
        sys.exit("Found no wrk. Expected: the load generator. What to do: apt-get install wrk.")
    with tempfile.TemporaryDirectory(prefix="barometer-serving-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # PostgreSQL's user has to pass
        try:
            measure(folder, arguments.seconds, arguments.rounds, arguments.requests)
        finally:
            embedded.remove(folder / "home")


def measure(folder: Path, seconds: int, rounds: int, requests: int) -> None:
    """Measure all of them with a model below `folder`."""
    settings = load_settings(environment(folder))
    model = registered(folder, settings)
    key = made_key(folder)
    one, many = scripts(folder, 1, key), scripts(folder, MANY_ROWS, key)
    bare = onnx_rows_a_second(model)
    ours, ceilings = [], []
    for _ in range(rounds):
        with ceiling(folder):
            ceilings.append(wrk("ceiling", one["sidecar"], 16, seconds).requests_a_second)
        with sidecar(folder):
            ours.append(wrk("sidecar", one["sidecar"], 16, seconds).requests_a_second)
    with sidecar(folder) as process:
        alone = wrk("sidecar", one["sidecar"], 1, seconds).median_milliseconds
        rows = wrk("sidecar", many["sidecar"], 4, seconds).requests_a_second * MANY_ROWS
        memory = memory_over(process, one["sidecar"], requests, seconds)
        record = metrics(key)
    with mlflow(folder, settings):
        mlflows = wrk("MLflow", one["MLflow"], 16, seconds).requests_a_second
    ours_median, ceiling_median = statistics.median(ours), statistics.median(ceilings)
    print(f"1 row, 16 connections: sidecar {ours_median:,.0f} requests/s {rounded(ours)}")
    print(f"                       ceiling {ceiling_median:,.0f} requests/s {rounded(ceilings)}")
    print(f"                       MLflow  {mlflows:,.1f} requests/s")
    told("times MLflow's", ours_median / mlflows, "at least", 100)
    told("of the ceiling's", ours_median / ceiling_median, "at least", 0.4)
    told("p50 at one connection, ms", alone, "at most", 1.5)
    print(f"{MANY_ROWS:,} rows, 4 connections: sidecar {rows:,.0f} rows/s, bare ONNX Runtime {bare:,.0f} rows/s")
    told("of bare ONNX Runtime's rows/s", rows / bare, "at least", 0.4)
    print(f"memory over {requests:,} requests, MiB: " + ", ".join(f"{mib:.0f}" for mib in memory))
    print("record:", ", ".join(f"{name} {value:,.0f}" for name, value in record.items()))


def told(what: str, found: float, bound: str, asked: float) -> None:
    """Print a figure beside what is asked."""
    holds = found >= asked if bound == "at least" else found <= asked
    print(f"  {found:8.2f} {what}; asked: {bound} {asked:g}: {'yes' if holds else 'NO'}")


def rounded(values: list[float]) -> list[int]:
    """Return the rounds' figures for print."""
    return [round(value) for value in values]


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of an installation of its own below `folder`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("BAROMETER")},
        "BAROMETER_HOME": str(folder / "home"),
        "BAROMETER__SERVICE__PORT": str(PORTS["sidecar"]),
        "BAROMETER__SERVICE__AUTH": "keys",
    }


def registered(folder: Path, settings: Settings) -> Path:
    """Make the model and register it as champion; return its bundle."""
    from pipeline.files import sha256_of_file
    from pipeline.models.bundle import BUNDLE_FILE
    from pipeline.training.evaluation.measures import EVALUATION_FILE
    from pipeline.training.handoffs import Evaluated, TrainingPlan
    from pipeline.training.register import register

    made = folder / "made"
    made.mkdir()
    prepare(made, 1)
    model = settings.home / "training" / "benchmark" / "model"
    shutil.copytree(made / "model", model)
    (model / EVALUATION_FILE).write_text('{"feature_auc": {}}')
    facts = open_bundle(model, sha256_of_file(model / BUNDLE_FILE)).model_dump(exclude={"files"})
    digest = seal(model, **{**facts, "metrics": {"roc_auc": 0.7}, "parameters": PARAMETERS})
    plan = TrainingPlan(training_id="benchmark", as_of="2026-03-02", cutoff=CUTOFF, weeks=[], folder=model.parent)
    evaluated = Evaluated(bundle=model, bundle_digest=digest, test_rows=1, metrics={"roc_auc": 0.7})
    register(settings, plan, evaluated)
    return model


def made_key(folder: Path) -> str:
    """Return a new API key that may do everything."""
    command = [f"{Path(sys.executable).parent}/barometer", "keys", "create", "benchmark", "--scope", "admin"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(folder))
    found = re.search(r"bm_\S+", ran.stdout)
    assert found, ran.stdout
    return found[0]


def scripts(folder: Path, rows: int, key: str) -> dict[str, Path]:
    """Write what wrk sends, by the server's form of body; return the scripts."""
    random = np.random.default_rng(rows)
    made: dict[str, Path] = {}
    for server, name in (("sidecar", "instances"), ("MLflow", "dataframe_records")):
        bodies = [json.dumps({name: [instance(random) for _ in range(rows)]}) for _ in range(BODIES)]
        headers = f'["Content-Type"]="application/json", ["X-API-Key"]="{key}"'
        script = [f"local headers = {{{headers}}}", "local bodies, requests, turn = {}, {}, 0"]
        script += [f"bodies[{number}] = [==[{body}]==]" for number, body in enumerate(bodies, 1)]
        script += [
            "function init(args)",
            "  for number, body in ipairs(bodies) do",
            f'    requests[number] = wrk.format("POST", "{PATHS[server]}", headers, body)',
            "  end",
            "end",
            "function request()",
            "  turn = turn % #requests + 1",
            "  return requests[turn]",
            "end",
        ]
        made[server] = folder / f"{server}-{rows}.lua"
        made[server].write_text("\n".join(script))
    return made


def instance(random: np.random.Generator) -> dict[str, float | str]:
    """Return made-up features of a customer."""
    return {
        feature.name: round(float(random.normal()), 4) if feature.kind == "number" else str(random.choice(CATEGORIES))
        for feature in FEATURES
    }


def wrk(server: str, script: Path, connections: int, seconds: int) -> Load:
    """Put a load on a server, after a second to warm up; refuse to measure errors."""
    url = f"http://127.0.0.1:{PORTS[server]}"
    for duration in (1, seconds):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}", "--timeout", "20", "--latency", "-s", str(script)]
        said = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"{server} did not answer every request:\n{said}")
    latency = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    requests, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert latency, said
    assert requests, said
    assert rate, said
    milliseconds = float(latency[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[latency[2]]
    return Load(int(requests[1]), float(rate[1]), milliseconds)


def memory_over(process: psutil.Process, script: Path, requests: int, seconds: int) -> list[float]:
    """Return the sidecar's memory in MiB before and after each fifth of `requests` requests."""
    found, sent, next_look = [process.memory_info().rss / 2**20], 0, requests / 5
    while sent < requests:
        sent += wrk("sidecar", script, 16, min(seconds, 3)).requests
        if sent >= next_look:
            found.append(process.memory_info().rss / 2**20)
            next_look += requests / 5
    return found


def metrics(key: str) -> dict[str, float]:
    """Return what the sidecar says of its record."""
    time.sleep(2)  # what waits is written
    said = httpx.get(f"http://127.0.0.1:{PORTS['sidecar']}/metrics", headers={"X-API-Key": key}).text
    names = {"written": "barometer_recorded_total", "dropped": "barometer_record_dropped_total"}
    return {
        what: float(found[1])
        for what, name in names.items()
        if (found := re.search(rf"^{name} (\S+)", said, re.MULTILINE))
    }


def onnx_rows_a_second(model: Path) -> float:
    """Return what bare ONNX Runtime does with batches of `MANY_ROWS` rows, its inputs already made."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model / "model.onnx", options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    rows = [instance(random) for _ in range(MANY_ROWS)]
    feed: dict[str, Any] = {}
    for feature in FEATURES:
        kind = np.float32 if feature.kind == "number" else object
        feed[f"feature:{feature.name}"] = np.array([row[feature.name] for row in rows], dtype=kind).reshape(-1, 1)
    output = [session.get_outputs()[1].name]
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(100):
            session.run(output, feed)
        rates.append(100 * MANY_ROWS / (time.perf_counter() - started))
    return statistics.median(rates)


def serve_ceiling() -> None:
    """Serve the bare app on the sidecar's server."""
    import msgspec
    import uvicorn

    from pipeline.service.server.process import configured

    async def bare(_scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        msgspec.json.decode(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(CONSTANT))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": CONSTANT})

    uvicorn.Server(configured(bare, "127.0.0.1", PORTS["ceiling"])).run()


@contextmanager
def sidecar(folder: Path) -> Iterator[psutil.Process]:
    """Run the sidecar."""
    command = [str(Path(sys.executable).parent / "barometer"), "serve"]
    with running("sidecar", command, environment(folder), "/readyz", folder) as process:
        yield process


@contextmanager
def ceiling(folder: Path) -> Iterator[None]:
    """Run the bare app."""
    with running("ceiling", [sys.executable, "-m", "benchmarks.serving", "--ceiling"], os.environ, None, folder):
        yield


@contextmanager
def mlflow(folder: Path, settings: Settings) -> Iterator[None]:
    """Run MLflow's server."""
    from pipeline.local.postgres.databases import databases

    tracking = {"MLFLOW_TRACKING_URI": databases(settings).mlflow, "MLFLOW_DISABLE_TELEMETRY": "true"}
    tracking["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it starts uvicorn by its name
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{settings.model.name}/1"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(PORTS["MLflow"])]
    with running("MLflow", command, {**os.environ, **tracking}, "/ping", folder):
        yield


@contextmanager
def running(
    server: str, command: list[str], env: Mapping[str, str], ready: str | None, folder: Path
) -> Iterator[psutil.Process]:
    """Run a server until the block ends."""
    with (folder / f"{server}.log").open("ab") as log:
        started = subprocess.Popen(command, env=dict(env), stdout=log, stderr=log, start_new_session=True)
    try:
        await_answer(f"http://127.0.0.1:{PORTS[server]}{ready or '/'}", started, folder / f"{server}.log", ready)
        yield psutil.Process(started.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        started.wait(60)


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path, ready: str | None) -> None:
    """Wait until a server answers; with `ready`, until it says yes."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if ready is None or httpx.get(url, timeout=5).is_success:
                httpx.post(url, content=b"{}", timeout=5)
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.exit(f"{url} does not answer:\n{log.read_text()[-2000:]}")


if __name__ == "__main__":
    main()
