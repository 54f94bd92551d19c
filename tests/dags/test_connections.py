"""Sources behind Airflow's connections: looked up by the task that reads them, wherever Airflow keeps them."""

import psycopg
import pyarrow.parquet as pq
import pytest
from sqlalchemy import make_url

from pipeline.errors import ConfigError
from tests.dags.test_adapter import trial  # noqa: F401 - a fixture

PASSWORD = "h@ush/2"


@pytest.fixture
def answers(server_url, monkeypatch):
    """A table of answers of a user with a password, which the source of that name reads by the connection `shop`."""
    with psycopg.connect(f"{server_url}/postgres", autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS public.given (customer_id text, product_id text, "
            "about_week date, answer int, answered_at timestamptz)"
        )
        connection.execute("TRUNCATE public.given")
        connection.execute("INSERT INTO public.given VALUES ('c1', 'p1', '2026-03-02', 5, now())")
        connection.execute(f"DROP ROLE IF EXISTS shop; CREATE ROLE shop LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    monkeypatch.setenv("BAROMETER__SOURCES__ANSWERS__CONNECTION", "shop")
    monkeypatch.setenv("BAROMETER__SOURCES__ANSWERS__TABLE", "public.given")
    return make_url(server_url)


def test_a_connection_of_the_metadata_database(installation, trial, answers, output_as_on_a_terminal):  # noqa: F811
    with output_as_on_a_terminal():
        from airflow.models.connection import Connection
        from airflow.utils.session import create_session

        with create_session() as session:
            session.add(
                Connection(
                    conn_id="shop", conn_type="postgres", host=answers.host, port=answers.port, login="shop",
                    password=PASSWORD, schema="postgres",
                )
            )  # fmt: skip
    try:
        result, _, log = trial("reads answers")
    finally:
        with create_session() as session:
            session.query(Connection).filter(Connection.conn_id == "shop").delete()
    assert result == {"week": "2026-03-02", "shards": [0, 1, 2]}, log
    (read,) = (installation.home / "ingested/answers").glob("*.parquet")
    assert pq.read_metadata(read).num_rows == 1
    assert PASSWORD not in log


def test_a_connection_that_airflow_does_not_know_is_refused(trial, answers):  # noqa: F811
    result, _, log = trial("reads answers")
    assert isinstance(result, ConfigError)
    assert "Airflow has no connection 'shop'" in result.found
    assert "AIRFLOW_CONN_SHOP" in result.do
    assert "Traceback" not in log
