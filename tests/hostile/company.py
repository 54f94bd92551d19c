"""The test company with a source of every format, and the suites that a careful team would write for it."""

import gzip
import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.weeks import Week
from tests.company import FIRST_WEEK, write_company

WEEKS = 12
CUSTOMERS = 60
WEEK = FIRST_WEEK.plus(WEEKS - 1)
"""The week of every hostile feed. In its last night the clocks of Berlin go forward."""
EVENTS = f"events-{WEEK}.csv"
EVENTS_BEFORE = f"events-{WEEK.plus(-1)}.csv"
VISITS = f"visits-{WEEK}.jsonl.gz"
VISITS_BEFORE = f"visits-{WEEK.plus(-1)}.jsonl.gz"
ACCOUNTS = "accounts.parquet"

MORE_SOURCES = """
[sources.visits]
path = "visits-{week}.jsonl.gz"
lookback_weeks = 1
event_time = "visited_at"
reject_rows = 2

[sources.visits.columns]
customer_id = "text"
product_id = "text"
visited_at = "timestamp"
pages = "integer"

[sources.accounts]
path = "accounts.parquet"
event_time = "opened_at"
reject_rows = 2

[sources.accounts.columns]
customer_id = "text"
product_id = "text"
opened_at = "timestamp"
credit = "number"
reference = "integer"
"""

FEATURES_SQL = """
WITH
spent AS (
    SELECT
        customer_id, product_id, count(*) AS events, sum(amount) AS amount, max(kind) AS kind,
        count(*) FILTER (WHERE happened_at >= $week_start) > 1 AS is_busy
    FROM events
    GROUP BY customer_id, product_id
),
seen AS (SELECT customer_id, product_id, sum(pages) AS pages FROM visits GROUP BY customer_id, product_id)
SELECT
    spent.*,
    coalesce(seen.pages, 0) AS pages,
    accounts.credit,
    CAST(accounts.reference AS VARCHAR) AS info_reference
FROM spent
LEFT JOIN seen USING (customer_id, product_id)
LEFT JOIN accounts USING (customer_id, product_id)
"""


def _rows(low: str, high: str) -> dict[str, object]:
    bounds = {"min_value": {"$PARAMETER": low}, "max_value": {"$PARAMETER": high}}
    return {"type": "expect_table_row_count_to_be_between", "kwargs": bounds, "severity": "critical"}


def _fresh(column: str) -> dict[str, object]:
    bound = {"column": column, "min_value": {"$PARAMETER": "cutoff - timedelta(days=1)"}}
    return {"type": "expect_column_max_to_be_between", "kwargs": bound, "severity": "critical"}


def _whole(column: str) -> dict[str, object]:
    return {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": column}, "severity": "critical"}


SUITES: dict[str, list[dict[str, object]]] = {
    "sources/events": [
        _rows("recent_rows * 0.5", "recent_rows * 1.5"),
        _fresh("happened_at"),
        _whole("customer_id"),
        _whole("product_id"),
    ],
    "sources/visits": [_rows("recent_rows * 0.5", "recent_rows * 1.5"), _fresh("visited_at"), _whole("customer_id")],
    "sources/whole/accounts": [_rows("recent_rows * 0.8", "recent_rows * 1.5"), _whole("customer_id")],
    "features": [
        _rows("recent_subjects * 0.8", "recent_subjects * 1.5"),
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "amount", "min_value": 0, "max_value": 10000},
            "severity": "critical",
        },
    ],
}


def write_hostile_company(folder: Path) -> None:
    """Write the company with undamaged feeds."""
    config = write_company(folder, WEEKS, CUSTOMERS)
    config.write_text(config.read_text() + MORE_SOURCES)
    (folder / "sql/features.sql").write_text(FEATURES_SQL)
    for name, expectations in SUITES.items():
        path = folder / "expectations" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"name": path.stem, "expectations": expectations}, indent=1))
    for index in range(WEEKS):
        _write_visits(folder / "landing", FIRST_WEEK.plus(index))
    _write_accounts(folder / "landing")


def _write_visits(landing: Path, week: Week) -> None:
    records = [
        {
            "customer_id": f"c{customer:04d}",
            "product_id": f"p{customer % 3}",
            "visited_at": f"{week.monday + timedelta(days=customer % 7)}T12:{customer % 60:02d}:00+01:00",
            "pages": 1 + customer % 9,
        }
        for customer in range(CUSTOMERS)
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (landing / f"visits-{week}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))


def _write_accounts(landing: Path) -> None:
    customers = range(CUSTOMERS)
    opened = FIRST_WEEK.monday - timedelta(days=100)
    accounts = {
        "customer_id": [f"c{customer:04d}" for customer in customers],
        "product_id": [f"p{customer % 3}" for customer in customers],
        "opened_at": [f"{opened + timedelta(days=customer % 50)} 09:00:00" for customer in customers],
        "credit": [float(customer * 10 % 70) for customer in customers],
        "reference": [1_000_000 + customer for customer in customers],
    }
    pq.write_table(pa.table(accounts), landing / ACCOUNTS)
