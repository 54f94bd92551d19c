"""Labels: whether subjects turned out satisfied, as far as that was known by a cutoff.

They come from the company's `labels.sql`, which sees the sources only through views that hide what was not known by
then. Training joins them with past features. The entry point is `known_labels`.
"""

from datetime import datetime

import duckdb
import pyarrow as pa

from pipeline.duck import connection
from pipeline.errors import FeatureError
from pipeline.manifests import LabelCounts, SourcesManifest
from pipeline.point_in_time.company_sql import company_query
from pipeline.point_in_time.source_views import create_views
from pipeline.settings import Settings

COLUMNS = ("customer_id", "product_id", "week", "satisfied", "observed_at")


def known_labels(settings: Settings, sources: SourcesManifest, cutoff: datetime) -> tuple[pa.Table, LabelCounts]:
    """Return the labels observed before `cutoff`, and the counts of the other rows of labels.sql.

    The table has a row for each subject and week: customer_id (string), product_id (string), week (date32), satisfied
    (bool).

    Raises
    ------
    FeatureError
        If labels.sql fails or breaks its contract.
    """
    with connection(settings, readable=[settings.home / "ingested"]) as con:
        create_views(con, settings, sources, cutoff)
        query = company_query(con, settings.labels_sql, sources.sources, {})
        try:
            con.execute(f"CREATE TABLE labels AS {query.sql}")
            _check_columns(con)
            con.execute(KNOWN, {"cutoff": cutoff})
        except duckdb.Error as error:
            raise query.failed(error) from None
        _check_values(con)
        known = con.sql("SELECT * REPLACE (satisfied = 1 AS satisfied) FROM known ORDER BY ALL").to_arrow_table()
        returned, unanswered = con.execute(COUNTS).fetchall()[0]
    later = returned - unanswered - known.num_rows
    return known, LabelCounts(returned=returned, unanswered=unanswered, later=later, known=known.num_rows)


KNOWN = """
CREATE TABLE known AS
SELECT
    CAST(customer_id AS VARCHAR) AS customer_id,
    CAST(product_id AS VARCHAR) AS product_id,
    CAST(week AS DATE) AS week,
    CAST(satisfied AS DOUBLE) AS satisfied
FROM labels
WHERE CAST(observed_at AS TIMESTAMPTZ) < $cutoff AND satisfied IS NOT NULL
"""
COUNTS = "SELECT count(*), count(*) FILTER (satisfied IS NULL) FROM labels"


def _check_columns(con: duckdb.DuckDBPyConnection) -> None:
    found = [row[0] for row in con.execute("SELECT column_name FROM (DESCRIBE labels)").fetchall()]
    absent = [name for name in COLUMNS if name not in found]
    if absent:
        raise _broken(f"labels.sql returns {', '.join(found)}, without {', '.join(absent)}")


def _check_values(con: duckdb.DuckDBPyConnection) -> None:
    odd = con.execute("SELECT satisfied FROM known WHERE satisfied NOT IN (0, 1) LIMIT 1").fetchone()
    if odd is not None:
        raise _broken(f"labels.sql returns the label {odd[0]}")
    day = con.execute("SELECT CAST(week AS VARCHAR) FROM known WHERE isodow(week) <> 1 LIMIT 1").fetchone()
    if day is not None:
        raise _broken(f"labels.sql returns the week {day[0]}, which is not a Monday")
    key = "customer_id, product_id, CAST(week AS VARCHAR)"
    twice = con.execute(f"SELECT {key} FROM known GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 1").fetchone()
    if twice is not None:
        raise _broken(f"labels.sql returns the subject {twice[0]} / {twice[1]} more than once for the week {twice[2]}")


def _broken(found: str) -> FeatureError:
    return FeatureError(
        f"{found}.",
        "one row for each subject and week: customer_id, product_id, week (its Monday), satisfied (0 or 1),"
        " observed_at (when that became known).",
        "correct labels.sql; it may use every source in pipeline.toml.",
    )
