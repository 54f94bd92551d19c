"""The content of the files: plausible times, and flaws with the stated frequencies."""

import gzip
from collections import Counter
from datetime import UTC

import pyarrow.parquet as pq
import pytest

from examples.sample import company
from tests.sample.conftest import END, WEEKS, connect


def lines(sample, pattern: str) -> list[bytes]:
    return [
        line for path in sorted(sample.folder.glob(pattern)) for line in gzip.decompress(path.read_bytes()).splitlines()
    ]


@pytest.fixture(scope="module")
def usage_lines(sample) -> list[bytes]:
    return [line for line in lines(sample, "usage/*.csv.gz") if not line.startswith(b"customer_id")]


def is_broken(line: bytes) -> bool:
    fields = line.split(b",")
    return len(fields) != 7 or fields[3].endswith(b"O")


def test_summary_counts_the_records(sample, usage_lines):
    assert sum(rows for name, rows in sample.rows.items() if name.startswith("usage/")) == len(usage_lines)
    assert sample.rows["customers.parquet"] == pq.read_metadata(sample.folder / "customers.parquet").num_rows
    assert len(sample.rows) == 3 + 4 * WEEKS
    assert any("best reachable AUC" in line for line in sample.lines())


def test_broken_lines_have_their_share_and_the_whole_line_beside(usage_lines):
    broken = [line for line in usage_lines if is_broken(line)]
    stated = (company.TORN_FRACTION + company.MISTYPED_FRACTION) * len(usage_lines)
    assert 0.5 * stated < len(broken) < 2 * stated
    whole = b"\n".join(line for line in usage_lines if not is_broken(line))
    assert all(b",".join(line.split(b",")[:2]) in whole for line in broken)


def test_json_lines_are_torn_too(sample):
    torn = [line for line in lines(sample, "tickets/*") + lines(sample, "surveys/*") if not line.endswith(b"}")]
    assert 1 <= len(torn) < 20


def test_duplicates_have_their_share(sample, usage_lines):
    for found in (usage_lines, lines(sample, "surveys/*")):
        again = sum(count - 1 for count in Counter(found).values())
        assert 0.5 * company.DUPLICATE_FRACTION < again / len(found) < 2 * company.DUPLICATE_FRACTION


LATENESS = f"""(
    SELECT *, CAST(delivered_at AS DATE) > promised_on AS is_late, carrier = 'Swiftline' AND
        date_diff('day', DATE '{END.plus(1 - WEEKS)}', CAST(delivered_at AS DATE)) // 7 IN {tuple(company.CRISIS_WEEKS)}
        AS is_crisis FROM deliveries)"""
IMPOSSIBLE = "SELECT avg((minutes IN (-9999, 168000))::INT) FROM usage WHERE minutes IS NOT NULL"
MINUTES = "SELECT sum(m) FROM (SELECT median(minutes) AS m FROM usage WHERE product_id = 'garden-box' GROUP BY week"
WEEKS_LATE = "date_diff('day', about_week, received_at) // 7"
ANSWERED_TOO_EARLY = "answered_at > received_at OR answered_at < about_week + 7"
STATED = {
    "impossible minutes": (IMPOSSIBLE, 0.5 * company.IMPOSSIBLE_FRACTION, 2 * company.IMPOSSIBLE_FRACTION),
    "negative minutes": ("SELECT count(*) FROM usage WHERE minutes = -9999", 1, 1e9),
    "endless minutes": ("SELECT count(*) FROM usage WHERE minutes = 168000", 1, 1e9),
    "missing regions": ("SELECT avg((region IS NULL)::INT) FROM customers", 0.01, 0.06),
    "missing topics": ("SELECT avg((topic IS NULL)::INT) FROM tickets", 0.02, 0.08),
    "late in the crisis": (f"SELECT avg(is_late::INT) FROM {LATENESS} WHERE is_crisis", 0.5, 1),
    "late otherwise": (
        f"SELECT max(a) FROM (SELECT avg(is_late::INT) a FROM {LATENESS} WHERE NOT is_crisis GROUP BY carrier)", 0, 0.25
    ),
    "the season": (f"SELECT ({MINUTES} ORDER BY week LIMIT 6)) / ({MINUTES} ORDER BY week DESC LIMIT 6))", 1.3, 1e9),
    "the first answers": (f"SELECT min({WEEKS_LATE}) FROM surveys", 1, 1),
    "the last answers": (f"SELECT max({WEEKS_LATE}) FROM surveys", 4, 4),
    "answers before their week's end": (f"SELECT count(*) FROM surveys WHERE {ANSWERED_TOO_EARLY}", 0, 0),
    "tickets resolved before they came": ("SELECT count(*) FROM tickets WHERE resolved_at <= opened_at", 0, 0),
    "tickets resolved after their week": (
        "SELECT count(*) FROM tickets WHERE resolved_at >= date_trunc('week', opened_at) + INTERVAL 7 DAY", 11, 1e9
    ),
}  # fmt: skip
"""What the sample's flaws and times are stated to be, each as a number between two others."""


@pytest.mark.parametrize("what", STATED)
def test_flaws_and_times_are_as_stated(con, what):
    query, least, most = STATED[what]
    assert least <= con.execute(query).fetchone()[0] <= most


def test_weekly_files_hold_their_week(sample):
    facts = {"usage": "last_used_at", "deliveries": "delivered_at", "tickets": "opened_at", "surveys": "received_at"}
    week = END.plus(-3)
    for source, column in facts.items():
        with connect(sample.folder, END) as con:
            query = con.execute("SELECT sql FROM duckdb_views() WHERE view_name = ?", [source]).fetchone()[0]
            con.execute(query.replace("CREATE VIEW", "CREATE OR REPLACE VIEW").replace("/*.", f"/*{week}."))
            earliest, latest = con.execute(
                f"SELECT epoch(min({column})), epoch(max({column})) FROM {source}"
            ).fetchone()
        assert week.start(UTC).timestamp() <= earliest < latest < week.cutoff(UTC).timestamp()


def test_whole_files_know_nothing_after_the_end(sample):
    with connect(sample.folder, END.plus(500)) as con:
        joined, started, cancelled, unknown = con.execute("""
            SELECT (SELECT epoch(max(joined_at)) FROM customers), epoch(max(started_at)), epoch(max(cancelled_at)),
                count(*) FILTER (customer_id NOT IN (SELECT customer_id FROM customers)
                                 OR product_id NOT IN (SELECT product_id FROM products))
            FROM subscriptions""").fetchone()
    assert max(joined, started, cancelled) < END.cutoff(UTC).timestamp()
    assert unknown == 0
