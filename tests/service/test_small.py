"""The service is small to ship: from a wheel, with the packages of the group `service` alone, quickly.

Every service here is a process of its own that runs from the unpacked wheel, not from the checkout.
"""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.settings import ROOT
from tests.company import write_company
from tests.end_to_end.airflow import free_ports

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
START_SECONDS = 15
"""Of the processor; it takes 1.5."""
# Serves until it has answered a prediction and told what it is made of.
PROGRAM = """
import json, os, signal, sys, threading, time, urllib.request
from importlib.abc import MetaPathFinder

class Refusing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not in the group service", name=name)

refused = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Refusing())
started = time.process_time()

def ask(address):
    body = b'{"instances": [{"events": 3, "amount": null, "is_busy": true, "kind": "never seen"}]}'
    request = urllib.request.Request(address + "/predict", body, {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(request))
    pages = [urllib.request.urlopen(address + path).status for path in ("/", "/docs", "/openapi.json", "/readyz")]
    import pipeline, pipeline.warehouse
    migrations = sorted(path.name for path in pipeline.warehouse.MIGRATIONS.iterdir())
    print(json.dumps({"answer": answer, "pages": pages, "seconds": ready - started, "package": pipeline.__file__,
                      "migrations": migrations, "modules": sorted({name.partition(".")[0] for name in sys.modules
                                                                   if sys.modules[name] is not None})}))
    os.kill(os.getpid(), signal.SIGTERM)

def when_ready(readiness):
    global ready
    ready = time.process_time()
    threading.Thread(target=ask, args=(load_settings().service.url,), daemon=True).start()

import pipeline.cli  # as the command does
from pipeline.service.process import serve
from pipeline.settings import load_settings
serve(load_settings(), when_ready)
"""


@dataclass
class Place:
    """An unpacked wheel, and a company's configuration to serve with."""

    wheel: Path
    environ: dict[str, str]

    def run(self, refused: set[str]) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(sorted(refused))],
            env=self.environ, capture_output=True, text=True, timeout=240, check=False, cwd=self.wheel,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The wheel is built where it stands, as the image's Dockerfile does."""
    folder = tmp_path_factory.mktemp("shipped")
    company = folder / "company"
    write_company(company)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        name = build_wheel(str(folder))
    with zipfile.ZipFile(folder / name) as wheel:
        wheel.extractall(folder / "wheel")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ = {
        "PYTHONPATH": str(folder / "wheel"),
        "BAROMETER_CONFIG": str(company / "pipeline.toml"),
        "BAROMETER_HOME": str(folder / "home"),
        "BAROMETER__SERVICE__MODEL_FOLDER": str(model_folder),
        "BAROMETER__SERVICE__PORT": str(free_ports(1)[0]),
    }
    return Place(folder / "wheel", inherited | environ)


@pytest.fixture(scope="module")
def alone(place: Place) -> dict[str, Any]:
    """What a service says that finds no package but those of its group."""
    return place.run(outside_of_the_group())


def test_it_answers_where_only_its_own_packages_are_installed(alone):
    (prediction,) = alone["answer"]["predictions"]
    assert 0 < prediction["satisfaction"] < 1
    assert alone["pages"] == [200] * 4


def test_it_runs_from_the_wheel_which_carries_the_migrations(alone, place):
    assert Path(alone["package"]).is_relative_to(place.wheel)
    assert alone["migrations"] == sorted(path.name for path in (ROOT / "sql/migrations").iterdir())


def test_other_commands_say_what_they_lack(place):
    program = PROGRAM.partition("started =")[0] + "from pipeline.cli import main; main(['run'])"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(sorted(outside_of_the_group()))],
        env=place.environ, capture_output=True, text=True, timeout=240, check=False, cwd=place.wheel,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_starts_quickly(alone):
    assert alone["seconds"] < START_SECONDS


def test_what_is_installed_beside_it_is_not_imported(place):
    contracts = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
    (small,) = [contract for name, contract in contracts.items() if name.startswith("The service is small")]
    assert set(small["forbidden_modules"]).intersection(place.run(set())["modules"]) == set()


def test_the_image_installs_what_the_group_names():
    pinned = {
        line.partition("==")[0]
        for line in (ROOT / "requirements-service.lock").read_text().splitlines()
        if "==" in line
    }
    assert {canonicalize_name(name) for name in pinned} >= closure()


def outside_of_the_group() -> set[str]:
    """Top-level modules that only packages outside of the group bring."""
    group = closure() | {"barometer"}
    return {
        module
        for module, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & group
    }


def closure() -> set[str]:
    """The packages of the group `service`, and what they require."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in PROJECT["dependency-groups"]["service"]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (requirement.marker and not requirement.marker.evaluate({"extra": ""})) or name in found:
            continue
        found.add(name)
        extras = requirement.extras or {""}
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(Requirement(line.partition(";")[0]))
    return found
