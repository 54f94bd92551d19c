"""The three databases are created if missing, by the first process, and analysts can read the warehouse."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from pipeline.errors import ConfigError, DatabaseUnavailableError
from pipeline.local.postgres import databases as module
from pipeline.local.postgres import embedded
from pipeline.local.postgres.databases import databases
from pipeline.settings import Settings
from tests.company import company_settings


def test_they_are_made_once_and_named_by_their_prefix(warehouse_settings: Settings):
    found = databases(warehouse_settings)
    prefix = warehouse_settings.database.prefix
    urls = [make_url(url) for url in (found.warehouse, found.airflow, found.mlflow)]
    assert [url.database for url in urls] == [f"{prefix}_{role}" for role in ("warehouse", "airflow", "mlflow")]
    assert {url.drivername for url in urls} == {"postgresql+psycopg"}
    for url in urls:
        psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)).close()
    assert databases(warehouse_settings) == found
    assert found.analyst is None  # the roles of an outside server are its administrator's business
    assert urls[0].password not in repr(found)


def test_many_processes_may_come_first(warehouse_settings: Settings):
    server = make_url(warehouse_settings.database.url)
    names = (f"t{uuid4().hex[:12]}_warehouse",)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: module.create_missing.__wrapped__(server, names, None), range(8)))


def test_the_analyst_reads_what_is_public_and_nothing_else(company: Path, tmp_path: Path):
    settings = company_settings(company, tmp_path / "home")
    try:
        found = databases(settings)
        admin = psycopg.connect(found.warehouse.replace("+psycopg", ""), autocommit=True)
        with admin:
            admin.execute("CREATE TABLE figures AS SELECT 1 AS figure")
            admin.execute("CREATE SCHEMA storage")
            admin.execute("CREATE TABLE storage.hidden AS SELECT 1")
        with psycopg.connect(found.analyst, autocommit=True) as analyst:
            assert analyst.execute("SELECT figure FROM figures").fetchone() == (1,)
            analyst.execute("SET default_transaction_read_only = off")
            for statement in (
                "SELECT * FROM storage.hidden",
                "INSERT INTO figures VALUES (2)",
                "CREATE TABLE mine (x int)",
                "SELECT pg_read_file('/etc/hostname')",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    analyst.execute(statement.encode())
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(make_url(found.analyst).set(database="barometer_airflow").render_as_string(False))
    finally:
        embedded.remove(settings.home)


@pytest.mark.parametrize("url", ["mysql://user:hidden@host", "not a url: hidden", "sqlite:///hidden.db"])
def test_a_url_of_something_else_is_refused_without_showing_it(company: Path, tmp_path: Path, url: str):
    settings = company_settings(company, tmp_path, DATABASE__URL=url)
    with pytest.raises(ConfigError, match="is not the URL of a PostgreSQL server") as refused:
        databases(settings)
    assert "hidden" not in str(refused.value)


def test_a_server_that_is_away_may_come_back(company: Path, tmp_path: Path):
    settings = company_settings(company, tmp_path, DATABASE__URL="postgresql://user:hidden@127.0.0.1:1")
    with pytest.raises(DatabaseUnavailableError, match=r"127\.0\.0\.1:1 does not answer") as refused:
        databases(settings)
    assert "hidden" not in str(refused.value)


def test_a_user_who_may_not_make_them_is_told_what_to_ask_for(company: Path, tmp_path: Path, server_url: str):
    with psycopg.connect(f"{server_url}/postgres") as connection:
        connection.execute("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    weak = make_url(server_url).set(username="weak", password="weak").render_as_string(hide_password=False)
    settings = company_settings(company, tmp_path, DATABASE__URL=weak, DATABASE__PREFIX="never_made")
    with pytest.raises(ConfigError, match=r"weak of database\.url cannot create the databases"):
        databases(settings)
