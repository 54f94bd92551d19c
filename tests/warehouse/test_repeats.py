"""A feed that came before is refused: last week's file under this week's name, or a part twice."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SourceError
from pipeline.manifests import SourceFile, SourceRead, SourcesManifest
from pipeline.settings import Settings
from pipeline.warehouse.repeats import refuse_repeats
from pipeline.warehouse.runs import open_run, update_run
from tests.feeds import WEEK


def file(name: str, digest: str, weeks: int | None = 0, rows: int = 1) -> SourceFile:
    week = None if weeks is None else str(WEEK.plus(weeks))
    return SourceFile(
        uri=f"/landing/{name}", size_bytes=1, digest=digest, rows=rows, rejects=0, parquet=Path("x"), week=week
    )


def check(settings: Settings, *files: SourceFile, timeless: bool = False, source: str = "events") -> None:
    read = SourceRead(files=list(files), new_rejects=0, timeless=timeless, undeclared_columns=[])
    refuse_repeats(settings, SourcesManifest(week=str(WEEK), sources={source: read}))


def published(settings: Settings, weeks: int, *files: SourceFile, **facts: Any) -> None:
    run_id = open_run(settings, week=WEEK.plus(weeks), airflow_run_id=f"{weeks} {facts}")
    read = {"files": [each.model_dump(mode="json") for each in files]}
    update_run(settings, run_id, **{"state": "published", "sources": {"events": read}, **facts})


def test_other_files_are_fine(warehouse_settings: Settings) -> None:
    published(warehouse_settings, -1, file("a.csv", "A", -1))
    check(warehouse_settings, file("a.csv", "A", -1), file("b.csv", "B", -1), file("c.csv", "C"))


def test_last_weeks_file_beside_it(warehouse_settings: Settings) -> None:
    with pytest.raises(SourceError) as caught:
        check(warehouse_settings, file("a.csv", "A", -1), file("b.csv", "A"))
    assert caught.value.found == "Source events: /landing/b.csv is, byte for byte, /landing/a.csv."


@pytest.mark.parametrize("weeks", [0, None])
def test_a_part_that_came_twice(warehouse_settings: Settings, weeks: int | None) -> None:
    with pytest.raises(SourceError, match=r"part-1\.csv is, byte for byte, /landing/part-2\.csv"):
        check(warehouse_settings, file("part-1.csv", "A", weeks), file("part-2.csv", "A", weeks))


def test_an_earlier_weeks_file_that_is_not_read_any_more(warehouse_settings: Settings) -> None:
    published(warehouse_settings, -2, file("a.csv", "A", -2))
    with pytest.raises(SourceError, match=r"c\.csv is, byte for byte, /landing/a\.csv"):
        check(warehouse_settings, file("c.csv", "A"))


def test_what_does_not_count(warehouse_settings: Settings) -> None:
    published(warehouse_settings, 0, file("before/c.csv", "C"))  # the week itself, from another landing zone
    published(warehouse_settings, 1, file("d.csv", "C", 1))  # the later one was the repeat
    published(warehouse_settings, -1, file("b.csv", "C", -1), state="failed")
    published(warehouse_settings, -3, file("whole.csv", "C", None))
    check(warehouse_settings, file("c.csv", "C"))


def test_past_repeats_are_past(warehouse_settings: Settings) -> None:
    check(warehouse_settings, file("a.csv", "A", -2), file("b.csv", "A", -1), file("c.csv", "C"))


def test_what_may_well_be_the_same(warehouse_settings: Settings) -> None:
    twice = (file("a.csv", "A", -1), file("b.csv", "A"))
    check(warehouse_settings, *twice, timeless=True)
    check(warehouse_settings, *(each.model_copy(update={"rows": 0}) for each in twice))
