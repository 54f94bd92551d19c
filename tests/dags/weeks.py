"""Weekly runs for the tests of this folder: the weeks they use, and what the warehouse says of them."""

from typing import Any

from sqlalchemy import text

from pipeline.settings import Settings
from pipeline.warehouse import transaction
from pipeline.weeks import Week

AS_OF = Week.parse("2026-03-02")
"""The last week that the first model knows."""
WEEK = AS_OF.plus(1)


def rows(settings: Settings, sql: str, **values: Any) -> list[Any]:
    with transaction(settings) as connection:
        return list(connection.execute(text(sql), values))


def digest(settings: Settings, week: Week) -> str:
    """Of the week's published rows, apart from the run's id."""
    query = """
        SELECT md5(string_agg((to_jsonb(p) - 'run_id')::text, '' ORDER BY customer_id, product_id))
        FROM predictions AS p WHERE week = :week
    """
    return rows(settings, query, week=week.monday)[0][0]
