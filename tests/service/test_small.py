"""The service is small to ship: from a wheel, with the packages of the group `service` alone.

Every service here is a process of its own that runs from the unpacked wheel, not from the checkout.
"""

import json
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
from tests.company import company_settings
from tests.end_to_end.airflow import free_ports
from tests.service.started import environ_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Serves until it has answered a prediction; prints what it has imported.
PROGRAM = """
import json, os, signal, sys, threading, urllib.request
from importlib.abc import MetaPathFinder

class Refusing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not in the group service", name=name)

refused = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Refusing())

def ask(address):
    body = b'{"instances": [{"events": 3, "amount": null, "is_busy": true, "kind": "never seen"}]}'
    request = urllib.request.Request(address + "/predict", body, {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(request))
    pages = [urllib.request.urlopen(address + path).status for path in ("/", "/docs", "/openapi.json", "/readyz")]
    import pipeline, pipeline.warehouse
    migrations = sorted(path.name for path in pipeline.warehouse.MIGRATIONS.iterdir())
    print(json.dumps({"answer": answer, "pages": pages, "package": pipeline.__file__,
                      "migrations": migrations, "modules": sorted({name.partition(".")[0] for name in sys.modules
                                                                   if sys.modules[name] is not None})}))
    os.kill(os.getpid(), signal.SIGTERM)

def when_ready(readiness):
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

    def run(self, refused: set[str], program: str = PROGRAM, code: int = 0) -> str:
        """Run a program in which some modules cannot be imported; return its output, or its errors if it must fail."""
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(sorted(refused))],
            env=self.environ, capture_output=True, text=True, timeout=240, check=False, cwd=self.wheel,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def place(company: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The wheel is built in the checkout, as in the image's Dockerfile."""
    folder = tmp_path_factory.mktemp("shipped")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        name = build_wheel(str(folder))
    with zipfile.ZipFile(folder / name) as wheel:
        wheel.extractall(folder / "wheel")
    settings = company_settings(company, folder / "home")
    inherited = environ_of(settings, model_folder=model_folder, port=free_ports(1)[0])
    environ = {name: value for name, value in inherited.items() if not name.startswith("PYTHON")}
    return Place(folder / "wheel", environ | {"PYTHONPATH": str(folder / "wheel")})


@pytest.fixture(scope="module")
def alone(place: Place) -> dict[str, Any]:
    """What a service says that finds no package but those of its group."""
    return json.loads(place.run(outside_of_the_group()))


def test_it_answers_where_only_its_own_packages_are_installed(alone):
    (prediction,) = alone["answer"]["predictions"]
    assert 0 < prediction["satisfaction"] < 1
    assert alone["pages"] == [200] * 4


def test_it_runs_from_the_wheel_which_carries_the_migrations(alone, place):
    assert Path(alone["package"]).is_relative_to(place.wheel)
    assert alone["migrations"] == sorted(path.name for path in (ROOT / "sql/migrations").iterdir())


def test_other_commands_say_what_they_lack(place):
    program = PROGRAM.partition("\ndef ask")[0] + "from pipeline.cli import main; main(['run'])"
    errors = place.run(outside_of_the_group(), program, code=1)
    assert "is not installed" in errors
    assert "Traceback" not in errors


def test_what_is_installed_beside_it_is_not_imported(place):
    contracts = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
    (small,) = [contract for name, contract in contracts.items() if name.startswith("The service is small")]
    assert set(small["forbidden_modules"]).intersection(json.loads(place.run(set()))["modules"]) == set()


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
