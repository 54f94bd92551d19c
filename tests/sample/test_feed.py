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


def test_impossible_minutes_have_their_share(con):
    rows, negative, endless = con.execute("""
        SELECT count(*), count(*) FILTER (minutes = -9999), count(*) FILTER (minutes = 168000) FROM usage
        WHERE minutes IS NOT NULL""").fetchone()
    assert min(negative, endless) >= 1
    assert 0.5 * company.IMPOSSIBLE_FRACTION < (negative + endless) / rows < 2 * company.IMPOSSIBLE_FRACTION


def test_categories_are_missing(con):
    share = "(SELECT avg(CAST({} IS NULL AS INT)) FROM {})"
    query = f"SELECT {share.format('region', 'customers')}, {share.format('topic', 'tickets')}"
    regions, topics = con.execute(query).fetchone()
    assert 0.01 < regions < 0.06
    assert 0.02 < topics < 0.08


def test_one_carrier_is_late_in_the_crisis_only(sample, con):
    query = f"""
        SELECT carrier || if(number IN {tuple(company.CRISIS_WEEKS)}, ' crisis', ''),
            avg(CAST(CAST(delivered_at AS DATE) > promised_on AS INT))
        FROM (SELECT *, date_diff('day', DATE '{sample.first_week}', CAST(delivered_at AS DATE)) // 7 AS number
              FROM deliveries)
        GROUP BY 1"""
    late = dict(con.execute(query).fetchall())
    assert late.pop("Swiftline crisis") > 0.5
    assert all(share < 0.25 for share in late.values())


def test_use_has_a_season(con):
    query = "SELECT median(minutes) FROM usage WHERE product_id = 'garden-box' GROUP BY week ORDER BY week"
    weekly = [row[0] for row in con.execute(query).fetchall()]
    assert sum(weekly[:6]) > 1.3 * sum(weekly[-6:])


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


def test_answers_are_one_to_four_weeks_late(con):
    soonest, latest, early = con.execute("""
        SELECT min(late), max(late), count(*) FILTER (answered_at > received_at OR answered_at < about_week + 7)
        FROM (SELECT *, date_diff('day', about_week, received_at) // 7 AS late FROM surveys)""").fetchone()
    assert (soonest, latest, early) == (1, 4, 0)


def test_resolutions_can_lie_after_the_ticket_s_week(sample):
    with connect(sample.folder, END.plus(4)) as con:
        backwards, later = con.execute("""
            SELECT count(*) FILTER (resolved_at <= opened_at),
                count(*) FILTER (resolved_at >= date_trunc('week', opened_at) + INTERVAL 7 DAY) FROM tickets
        """).fetchone()
    assert backwards == 0
    assert later > 10


def test_whole_files_know_nothing_after_the_end(sample):
    with connect(sample.folder, END.plus(500)) as con:
        joined, started, cancelled, unknown = con.execute("""
            SELECT (SELECT epoch(max(joined_at)) FROM customers), epoch(max(started_at)), epoch(max(cancelled_at)),
                count(*) FILTER (customer_id NOT IN (SELECT customer_id FROM customers)
                                 OR product_id NOT IN (SELECT product_id FROM products))
            FROM subscriptions""").fetchone()
    assert max(joined, started, cancelled) < END.cutoff(UTC).timestamp()
    assert unknown == 0
