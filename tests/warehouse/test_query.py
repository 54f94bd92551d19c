"""Query: an analyst's statement, read-only, answered in four formats or refused in words."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, DatabaseUnavailableError
from pipeline.settings import Settings
from pipeline.warehouse import query, runs
from pipeline.warehouse.query import run_query, write
from pipeline.weekly.publish import publish
from tests.company import FIRST_WEEK, company_settings, own_database
from tests.weeks_of_runs import scored_run

EVERYTHING = """
SELECT
    1 AS int4, 2::bigint AS int8, 0.5::float8 AS float8, 1.25::numeric AS "numeric", true AS bool, 'ü[red]%s' AS text,
    '2026-01-05'::date AS date, '2026-01-05 10:00+01'::timestamptz AS timestamptz, '{"a": [1, "ö"]}'::jsonb AS jsonb,
    ARRAY['x', 'y'] AS "array", interval '1 day' AS interval, NULL AS missing
"""


@pytest.fixture(scope="module")
def shared_settings(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    """Settings with a warehouse that no test changes."""
    home = tmp_path_factory.mktemp("query") / "home"
    return company_settings(company, home, **own_database(server_url))


def written(table: pa.Table, form: query.Format) -> bytes:
    out = io.BytesIO()
    write(table, form, out)
    return out.getvalue()


def test_what_publish_fills_can_be_asked(warehouse_settings: Settings):
    publish(warehouse_settings, *scored_run(warehouse_settings, FIRST_WEEK))
    views = ("latest_predictions", "weekly_satisfaction_by_product", "published_weeks")
    for relation in ("predictions", "prediction_runs", *views):
        assert run_query(warehouse_settings, f"SELECT * FROM {relation}").num_rows > 0


@pytest.mark.parametrize("relation", ["predictions", "rejects", "quarantine", "model_promotions"])
def test_a_first_query_finds_its_tables(shared_settings: Settings, relation: str):
    table = run_query(shared_settings, f"SELECT * FROM {relation}")
    assert table.num_rows == 0
    assert pa.null() not in table.schema.types
    for form in ("table", "csv", "json", "parquet"):
        assert written(table, form)


def test_every_format_tells_the_same(shared_settings: Settings):
    table = run_query(shared_settings, EVERYTHING)
    assert written(table, "json").decode() == (
        '[\n{"int4": 1, "int8": 2, "float8": 0.5, "numeric": 1.25, "bool": true, "text": "ü[red]%s",'
        ' "date": "2026-01-05", "timestamptz": "2026-01-05 09:00:00+00:00", "jsonb": {"a": [1, "ö"]},'
        ' "array": ["x", "y"],'
        ' "interval": "1 day, 0:00:00", "missing": null}\n]\n'
    )
    header, row, rest = written(table, "csv").decode().split("\n")
    assert header == ",".join(f'"{name}"' for name in table.column_names)
    assert row == (
        '1,2,0.5,1.25,true,"ü[red]%s",2026-01-05,2026-01-05 09:00:00.000000Z,"{""a"": [1, ""ö""]}","[""x"", ""y""]",'
        '"1 day, 0:00:00",'
    )
    assert rest == ""
    assert pq.read_table(io.BytesIO(written(table, "parquet"))).to_pylist() == table.to_pylist()
    drawn = written(table, "table").decode()
    assert all(text in drawn for text in (*table.column_names, "ü[red]%s", '{"a": [1, "ö"]}', "2026-01-05"))


def test_no_rows_in_every_format(shared_settings: Settings):
    table = run_query(shared_settings, "SELECT 1 AS figure, 'x'::jsonb AS odd WHERE false".replace("'x'", "'1'"))
    assert json.loads(written(table, "json")) == []
    assert written(table, "csv") == b'"figure","odd"\n'
    assert "figure" in written(table, "table").decode()


def test_a_table_for_the_eye_says_what_it_leaves_out(shared_settings: Settings):
    table = run_query(shared_settings, f"SELECT * FROM generate_series(1, {query.TABLE_ROWS + 5})")
    assert "… and 5 more rows" in written(table, "table").decode()
    assert len(json.loads(written(table, "json"))) == query.TABLE_ROWS + 5


@pytest.mark.parametrize("statement", ["EXPLAIN SELECT 1", "SHOW timezone", "VALUES (1)", "TABLE rejects", "SELECT 1;"])
def test_any_statement_that_reads_is_answered(shared_settings: Settings, statement: str):
    run_query(shared_settings, statement)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("DELETE FROM rejects", "read-only transaction"),
        ("WITH gone AS (DELETE FROM rejects RETURNING 1) SELECT * FROM gone", "read-only transaction"),
        ("SELECT 1; DELETE FROM rejects", "multiple commands"),
        ("COMMIT; DELETE FROM rejects", "multiple commands"),
        ("DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM rejects; END $$", "must be set before any query"),
        ("COPY rejects TO STDOUT", "COPY cannot be used"),
        ("", "it is empty"),
        ("-- nothing", "it is empty"),
        ("SELECT 'infinity'::date", "date too large"),
    ],
)
def test_the_rest_is_refused_with_the_reason(shared_settings: Settings, statement: str, reason: str):
    with pytest.raises(ConfigError, match=f"PostgreSQL refuses the statement: .*{reason}"):
        run_query(shared_settings, statement)


def test_nothing_was_changed_by_what_was_refused(warehouse_settings: Settings):
    run_id = runs.open_run(warehouse_settings, week=FIRST_WEEK, airflow_run_id="a")
    for statement in ("COMMIT", "SET default_transaction_read_only = off", "UPDATE prediction_runs SET state = 'held'"):
        try:
            run_query(warehouse_settings, statement)
        except ConfigError:
            continue
    assert runs.run(warehouse_settings, run_id).state == "running"


def test_a_server_that_goes_away_may_come_back(warehouse_settings: Settings):
    with pytest.raises(DatabaseUnavailableError, match="does not answer"):
        run_query(warehouse_settings, "SELECT pg_terminate_backend(pg_backend_pid())")
