"""A table or query behind a SQLAlchemy URL."""

import sqlite3
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.settings import Settings
from tests.feeds import bad, feed_settings, good, read


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE facts (id TEXT, amount, happened TEXT)")
        connection.executemany(
            "INSERT INTO facts VALUES (?, ?, ?)",
            [("b", 2.5, "2026-03-02 10:00:00"), ("a", "many", None), (None, 1, "02.03.2026")],
        )
    return path


def database_settings(folder: Path, database: Path, declared: str = 'table = "facts"') -> Settings:
    return feed_settings(folder, declared=f'url = "sqlite:///{database}"\n{declared}')


def test_a_table(tmp_path: Path, database: Path) -> None:
    settings = database_settings(tmp_path, database)
    assert good(settings) == [(1, None, 1.0), (3, "b", 2.5)]
    assert bad(settings) == [(2, "amount: 'many' is not a number", '["a","many"]')]


def test_a_query(tmp_path: Path, database: Path) -> None:
    settings = database_settings(
        tmp_path, database, 'query = "SELECT 7 AS amount, id FROM facts WHERE id IS NOT NULL;"'
    )
    assert good(settings) == [(1, "a", 7.0), (2, "b", 7.0)]


def test_equal_rows_have_equal_digests_in_any_order(tmp_path: Path, database: Path) -> None:
    settings = database_settings(tmp_path, database)
    before = read(settings).files
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE turned AS SELECT * FROM facts ORDER BY id DESC")
        connection.execute("DROP TABLE facts")
        connection.execute("ALTER TABLE turned RENAME TO facts")
    assert read(settings).files == before
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE facts SET amount = 3 WHERE id = 'b'")
    assert read(settings).files[0].digest != before[0].digest


def test_times_as_text_in_a_declared_format(tmp_path: Path, database: Path) -> None:
    settings = feed_settings(
        tmp_path,
        columns={"id": "text", "happened": "date"},
        declared=f'url = "sqlite:///{database}"\ntable = "facts"\ndate_format = "%d.%m.%Y"',
    )
    assert [row for row in good(settings) if row[2]] == [(1, None, "2026-03-02")]


def test_postgres_types_and_a_secret_from_the_environment(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, address = server_url.partition("://")
    secret, _, host = address.partition("@")
    monkeypatch.setenv("SHOP_LOGIN", secret)
    columns = {"a": "timestamp", "b": "decimal(12,2)", "c": "boolean", "d": "date", "e": "text", "f": "integer"}
    query = (
        "SELECT TIMESTAMPTZ '2026-03-02 10:00+01' AS a, 12.30::numeric AS b, true AS c, DATE '2026-03-02' AS d, "
        "'{1,2}'::int[] AS e, 2::bigint AS f"
    )
    url = f"{place}+psycopg://$SHOP_LOGIN@{host}/postgres"
    settings = feed_settings(tmp_path, columns=columns, declared=f'url = "{url}"\nquery = "{query}"')
    assert good(settings) == [(1, "2026-03-02 09:00:00+00", "12.30", True, "2026-03-02", "[1, 2]", 2)]
    assert secret.partition(":")[2] not in read(settings).files[0].uri


def test_an_unset_variable_is_named(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, declared='url = "postgresql://$NOT_SET_HERE@h/d"\ntable = "t"')
    with pytest.raises(ConfigError, match="NOT_SET_HERE is not set"):
        read(settings)


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        ('table = "elsewhere"', "no such table: elsewhere"),
        ('query = "SELECT 1 AS id"', "no such column"),
        ('query = "SELEC 1"', "syntax error"),
    ],
)
def test_refusals(tmp_path: Path, database: Path, declared: str, found: str) -> None:
    with pytest.raises(SourceError, match=found):
        read(database_settings(tmp_path, database, declared))


def test_a_database_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hush")
    url = "postgresql+psycopg://user:$SHOP_PASSWORD@127.0.0.1:1/d"
    settings = feed_settings(tmp_path, declared=f'url = "{url}"\ntable = "t"')
    with pytest.raises(SourceError, match="cannot be read") as caught:
        read(settings)
    assert "hush" not in str(caught.value)


def test_a_url_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`url`"):
        read(feed_settings(tmp_path, declared='url = "not a url"\ntable = "t"'))
