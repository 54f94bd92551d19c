"""Labels: only those known by the cutoff, one for each subject and week, or a clear refusal."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipeline.errors import FeatureError
from pipeline.point_in_time.labels import known_labels
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week
from tests.company import FIRST_WEEK, company_settings

CUTOFF = datetime(2026, 2, 15, 23, tzinfo=UTC)


def labels_of(settings: Settings, cutoff: datetime = CUTOFF) -> list[dict]:
    return known_labels(settings, read_sources(settings, FIRST_WEEK.plus(5)), cutoff)[0].to_pylist()


@pytest.fixture
def changed(company: Path, tmp_path: Path):
    """A copy of the company with another labels.sql."""

    def change(sql: str) -> Settings:
        folder = Path(shutil.copytree(company, tmp_path / "company"))
        (folder / "sql" / "labels.sql").write_text(sql)
        return company_settings(folder, tmp_path / "home")

    return change


def test_labels_are_those_observed_before_the_cutoff(settings: Settings) -> None:
    labels = labels_of(settings)
    assert labels[0].keys() == {"customer_id", "product_id", "week", "satisfied"}
    assert sorted({label["week"] for label in labels}) == [FIRST_WEEK.plus(n).monday for n in range(5)]
    assert {label["satisfied"] for label in labels} == {True, False}
    assert len(labels) == 500


def test_an_answer_at_the_very_cutoff_is_not_known_yet(settings: Settings) -> None:
    at = datetime(2026, 1, 14, 8, tzinfo=UTC)  # when the first week's answers arrive: 09:00 in Berlin
    assert labels_of(settings, at) == []
    assert len(labels_of(settings, at.replace(microsecond=1))) == 100


def test_what_labels_sql_says_of_observed_at_counts_too(changed) -> None:
    settings = changed(
        "SELECT customer_id, product_id, about_week AS week, 1 AS satisfied,"
        " CASE WHEN customer_id < 'c0050' THEN answered_at + INTERVAL 1 YEAR END AS observed_at FROM answers"
    )
    assert labels_of(settings) == []


def test_labels_sql_cannot_look_past_the_cutoff_whatever_it_says_of_observed_at(changed) -> None:
    settings = changed(query().replace("answered_at AS", "CAST(about_week AS TIMESTAMPTZ) AS"))
    assert {label["week"] for label in labels_of(settings)} == {FIRST_WEEK.plus(n).monday for n in range(5)}


def query(week: str = "about_week", satisfied: str = "true", tables: str = "answers") -> str:
    columns = f"customer_id, product_id, {week} AS week, {satisfied} AS satisfied, answered_at AS observed_at"
    return f"SELECT {columns} FROM {tables}"


BROKEN = {
    'Referenced column "nothing" not found': query(satisfied="nothing"),
    "without satisfied, observed_at": "SELECT customer_id, product_id, about_week AS week FROM answers",
    r"the label 5\.0": query(satisfied="answer") + " WHERE answer = 5",
    "which is not a Monday": query(week="about_week + 1"),
    "c0000 / p0 more than once for the week 2026-01-05": query(tables="answers, range(2)"),
    "Conversion Error": query(week="'soon'"),
    "selects from .?labels": query(tables="labels"),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_query_is_refused_in_words(changed, words) -> None:
    with pytest.raises(FeatureError, match=words):
        labels_of(changed(BROKEN[words]))


def test_rows_without_an_answer_are_no_labels(changed) -> None:
    assert labels_of(changed(query(satisfied="NULL"))) == []


def test_a_label_belongs_to_the_week_it_is_about(settings: Settings) -> None:
    first = next(label for label in labels_of(settings) if label["customer_id"] == "c0000")
    assert first["week"] == date(2026, 1, 5) == Week.parse("2026-01-05").monday
