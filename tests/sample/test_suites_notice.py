"""The sample company's suites notice files that lost, doubled or repeated their rows."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ExpectationError
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.validation.verdicts import verdicts_so_far
from pipeline.warehouse.runs import open_run, update_run
from pipeline.weekly.handoffs import Ingested, Plan
from pipeline.weekly.validate_sources import validate_sources
from tests.company import company_settings, own_database
from tests.handmade import make_plan
from tests.sample.conftest import END, ROOT


@pytest.fixture(scope="module")
def settings(sample, server_url, tmp_path_factory) -> Settings:
    """The root configuration with a copy of the sample, whose weeks before the last one are published."""
    folder = tmp_path_factory.mktemp("notice")
    shutil.copytree(sample.folder, folder / "landing")
    settings = company_settings(ROOT, folder, **own_database(server_url))
    sources = {name: read.model_dump(mode="json") for name, read in read_sources(settings, END).sources.items()}
    for weeks in (-2, -1):
        run_id = open_run(settings, week=END.plus(weeks), airflow_run_id=f"week {weeks}")
        update_run(settings, run_id, state="published", sources=sources)
    return settings


def failures(settings: Settings) -> tuple[set[str], set[str]]:
    """Validate the last week; return the suites with critical failures and those with failing warnings."""
    plan = _plan(settings)
    read_sources(settings, END).write(plan.folder / "sources.json")
    ingested = Ingested(manifest=plan.folder / "sources.json", lines=0, rows=0, rejects=0)
    try:
        validate_sources(settings, plan, ingested)
        stopped = False
    except ExpectationError:
        stopped = True
    failed = [row for row in verdicts_so_far(plan.folder) if row["status"] == "failed"]
    critical = {row["suite"] for row in failed if row["severity"] == "critical"}
    assert stopped == bool(critical)
    return critical, {row["suite"] for row in failed if row["severity"] == "warning"}


def _plan(settings: Settings) -> Plan:
    run_id = open_run(settings, week=END, airflow_run_id=uuid4().hex)
    return make_plan(settings, run_id).model_copy(update={"week": str(END), "cutoff": END.cutoff(settings.zone)})


def subscriptions(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def damage(landing: Path) -> None:
        path = landing / "subscriptions.csv.gz"
        header, *lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(b"".join([header, *change(lines)])))

    return damage


def customers(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def damage(landing: Path) -> None:
        pq.write_table(change(pq.read_table(landing / "customers.parquet")), landing / "customers.parquet")

    return damage


@pytest.mark.parametrize(
    ("damage", "critical", "warned"),
    [
        (lambda _: None, set(), set()),
        (subscriptions(lambda lines: lines[::5]), {"sources/whole/subscriptions"}, set()),
        (subscriptions(lambda lines: lines * 2), {"sources/subscriptions", "sources/whole/subscriptions"}, set()),
        (
            subscriptions(lambda lines: [line for line in lines if f",{END}" > f",{line.decode().split(',')[4]}"]),
            set(),
            {"sources/whole/subscriptions"},
        ),
        (customers(lambda table: table.slice(0, len(table) // 5)), {"sources/whole/customers"}, set()),
        (customers(lambda table: pa.concat_tables([table, table.slice(0, 1)])), {"sources/whole/customers"}, set()),
    ],
    ids=["whole", "four-fifths empty", "twice", "last week's", "a fifth of the customers", "a customer twice"],
)
def test_what_came_is_compared_with_the_weeks_before(settings, sample, damage, critical, warned):
    damage(settings.landing)
    try:
        found, warnings = failures(settings)
    finally:
        shutil.rmtree(settings.landing)
        shutil.copytree(sample.folder, settings.landing)
    assert found == critical
    assert warnings & {"sources/whole/subscriptions"} == warned
