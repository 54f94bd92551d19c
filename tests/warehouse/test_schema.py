"""The warehouse's schema: applied once, by the first process, as a whole; every table and column has a comment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from pipeline import warehouse
from pipeline.errors import DatabaseUnavailableError, WarehouseError
from pipeline.local.postgres.databases import databases
from pipeline.settings import Settings
from pipeline.warehouse.loading import loading


def rows(settings: Settings, query: str) -> list[tuple]:
    with warehouse.transaction(settings) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_first.sql").write_text("CREATE TABLE first (x text); INSERT INTO first VALUES ('50%'), (':x');")
    return folder


def migrate(settings: Settings, folder: Path) -> None:
    with create_engine(databases(settings).warehouse, poolclass=NullPool).begin() as connection:
        warehouse.migrate(connection, folder)


def test_every_table_view_and_column_is_explained(warehouse_settings: Settings):
    unexplained = rows(
        warehouse_settings,
        """
        SELECT c.oid::regclass::text, a.attname
        FROM pg_class AS c
        LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace IN ('public'::regnamespace, 'storage'::regnamespace) AND c.relkind IN ('r', 'p', 'v')
        AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)
        """,
    )
    assert unexplained == []
    names = {row[0] for row in rows(warehouse_settings, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert {"prediction_runs", "published_weeks", "rejects", "quarantine", "model_promotions"} <= names


def test_each_migration_is_applied_once_and_in_order(warehouse_settings: Settings, migrations: Path):
    for _ in range(2):
        migrate(warehouse_settings, migrations)
    (migrations / "0002_second.sql").write_text("CREATE TABLE second AS SELECT * FROM first;")
    migrate(warehouse_settings, migrations)
    with create_engine(databases(warehouse_settings).warehouse, poolclass=NullPool).connect() as connection:
        assert connection.execute(text("SELECT x FROM second ORDER BY x")).scalars().all() == ["50%", ":x"]


def test_two_processes_may_migrate_at_once(warehouse_settings: Settings, migrations: Path):
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: migrate(warehouse_settings, migrations), range(6)))


def test_a_failing_migration_leaves_nothing(warehouse_settings: Settings, migrations: Path):
    (migrations / "0002_second.sql").write_text("CREATE TABLE second (x int); SELECT nonsense;")
    with pytest.raises(ProgrammingError, match="nonsense"):
        migrate(warehouse_settings, migrations)
    with create_engine(databases(warehouse_settings).warehouse, poolclass=NullPool).connect() as connection:
        assert connection.execute(text("SELECT to_regclass('first'), to_regclass('second')")).one() == (None, None)


@pytest.mark.parametrize("change", [lambda file: file.write_text("SELECT 1"), Path.unlink], ids=["changed", "gone"])
def test_an_applied_migration_that_is_not_as_it_was_is_refused(warehouse_settings: Settings, migrations: Path, change):
    migrate(warehouse_settings, migrations)
    change(migrations / "0001_first.sql")
    with pytest.raises(WarehouseError, match=r"0001_first\.sql, which (differs|is not) here"):
        migrate(warehouse_settings, migrations)


def test_a_transaction_is_whole_or_nothing(warehouse_settings: Settings):
    with pytest.raises(ZeroDivisionError), warehouse.transaction(warehouse_settings) as connection:
        connection.execute(text("CREATE TABLE half AS SELECT 1")) and 1 / 0
    with pytest.raises(ZeroDivisionError), loading(warehouse_settings) as cursor:
        cursor.adbc_ingest("half", pa.table({"x": [1]}), mode="create") / 0
    assert rows(warehouse_settings, "SELECT to_regclass('half')") == [(None,)]


def test_a_lost_connection_may_come_back(warehouse_settings: Settings):
    with pytest.raises(DatabaseUnavailableError, match="terminating connection"):
        rows(warehouse_settings, "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(DatabaseUnavailableError), loading(warehouse_settings) as cursor:
        cursor.execute("INSERT INTO schema_migrations SELECT pg_terminate_backend(pg_backend_pid())::text, ''")
    with warehouse.transaction(warehouse_settings) as connection:
        connection.execute(text("LOCK TABLE rejects"))
        with pytest.raises(OperationalError, match="lock timeout"):  # not a lost connection
            rows(warehouse_settings, "SET LOCAL lock_timeout = '1ms'; SELECT * FROM rejects")
