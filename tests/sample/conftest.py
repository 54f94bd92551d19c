"""One small sample for all tests of the sample company, and views of its files in plain DuckDB."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from examples.sample import SampleSummary, generate
from pipeline.weeks import Week

ROOT = Path(__file__).parents[2]
KEY = ["customer_id", "product_id"]
END = Week.parse("2026-11-09")
CUSTOMERS, WEEKS, SEED = 1_500, 22, 7


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    """1,500 customers over 22 weeks, with the crisis. It is shared: copy it before changing it."""
    return generate(tmp_path_factory.mktemp("sample") / "landing", CUSTOMERS, WEEKS, SEED, END)


def connect(landing: Path, week: Week) -> duckdb.DuckDBPyConnection:
    """Return a connection in which the sources are views, as of the end of `week`, read without the pipeline."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    cutoff = f"TIMESTAMPTZ '{week.cutoff(UTC).isoformat()}'"
    views = {
        "products": f"FROM read_csv('{landing}/products.csv')",
        "customers": f"FROM read_parquet('{landing}/customers.parquet') WHERE joined_at < {cutoff}",
        "subscriptions": f"""
            SELECT * REPLACE (if(cancelled_at < {cutoff}, cancelled_at, NULL) AS cancelled_at)
            FROM read_csv('{landing}/subscriptions.csv.gz', header = true, columns = {{'customer_id': 'VARCHAR',
                'product_id': 'VARCHAR', 'plan': 'VARCHAR', 'monthly_value': 'DECIMAL(12,2)',
                'started_at': 'TIMESTAMPTZ', 'cancelled_at': 'TIMESTAMPTZ'}})
            WHERE started_at < {cutoff}""",
        "usage": f"""
            FROM read_csv('{landing}/usage/*.csv.gz', header = true, auto_detect = false, delim = ',',
                ignore_errors = true, columns = {{'customer_id': 'VARCHAR', 'product_id': 'VARCHAR', 'week': 'DATE',
                'minutes': 'BIGINT', 'sessions': 'BIGINT', 'crashes': 'BIGINT', 'last_used_at': 'TIMESTAMPTZ'}})
            WHERE last_used_at < {cutoff}""",
        "deliveries": f"FROM read_parquet('{landing}/deliveries/*.parquet') WHERE delivered_at < {cutoff}",
        "tickets": f"""
            SELECT * REPLACE (if(resolved_at < {cutoff}, resolved_at, NULL) AS resolved_at)
            FROM read_json('{landing}/tickets/*.jsonl.gz', format = 'newline_delimited', ignore_errors = true,
                columns = {{'customer_id': 'VARCHAR', 'product_id': 'VARCHAR', 'ticket_id': 'BIGINT',
                'topic': 'VARCHAR', 'opened_at': 'TIMESTAMPTZ', 'resolved_at': 'TIMESTAMPTZ'}})
            WHERE opened_at < {cutoff}""",
        "surveys": f"""
            FROM read_json('{landing}/surveys/*.jsonl.gz', format = 'newline_delimited', ignore_errors = true,
                columns = {{'customer_id': 'VARCHAR', 'product_id': 'VARCHAR', 'about_week': 'DATE',
                'answer': 'BIGINT', 'answered_at': 'TIMESTAMPTZ', 'received_at': 'TIMESTAMPTZ'}})
            WHERE answered_at < {cutoff} AND received_at < {cutoff}""",
    }
    for name, query in views.items():
        con.execute(f"CREATE VIEW {name} AS {query}")
    return con


@pytest.fixture
def con(sample: SampleSummary) -> Iterator[duckdb.DuckDBPyConnection]:
    """The sources as of the sample's end."""
    with connect(sample.folder, END) as con:
        yield con


def features(landing: Path, week: Week, threads: int = 2) -> pa.Table:
    """Return the result of sql/features.sql at the end of `week`, sorted by subject."""
    parameters: dict[str, datetime] = {"week_start": week.start(UTC), "week_end": week.cutoff(UTC)}
    with connect(landing, week) as con:
        con.execute(f"SET threads = {threads}")
        rows = con.sql((ROOT / "sql/features.sql").read_text(), params=parameters).to_arrow_table()
        return rows.sort_by([(name, "ascending") for name in KEY])
