"""A `Current` that watches the registry, and what a test asks of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.models import registry
from pipeline.models.scoring.scorer import Scorer
from pipeline.service.model.current import Current
from pipeline.settings import Settings
from tests.service.versions import ROWS, altered, record_batch

NOBODY = [None] * len(ROWS)
"""The customers of `ROWS`."""


@contextmanager
def watching(settings: Settings) -> Iterator[Current]:
    current = Current(settings)
    current.start()
    try:
        yield current
    finally:
        current.stop()


def answers(current: Current) -> list[float]:
    return current.serving.score(ROWS, NOBODY).satisfaction


def problems(current: Current) -> dict[str, str]:
    return {problem["what"]: problem["error"] for problem in current.readiness()["problems"]}


def copy_of(settings: Settings, role: str = "champion") -> Path:
    """The folder of the version that the local copy holds in this role."""
    return max((settings.home / "service").glob("copies-*/[0-9]*")) / role


def copies(settings: Settings) -> set[str]:
    """The digests of all versions that are copied."""
    found = (settings.home / "service").glob("copies-*/*/*/version.json")
    return {json.loads(path.read_text())["digest"] for path in found}


def digest_of(settings: Settings, version: str) -> str:
    return registry.bundle_of(settings, version)[1]


@contextmanager
def spoiled(path: Path) -> Iterator[None]:
    content = altered(path)
    try:
        yield
    finally:
        path.write_bytes(content)


def answers_of_copy(settings: Settings, current: Current) -> list[float]:
    """What the served version's own copy says, without the registry."""
    digest = current.serving.champion.digest
    scorer = Scorer.load(copy_of(settings), digest, threshold=0.5)
    return scorer.score(record_batch(ROWS, scorer.features)).column("satisfaction").to_pylist()
