"""Drafts features.sql and labels.sql: they run, and say where a person must decide.

A part of `pipeline.onboarding.drafts`. The entry points are `features_text` and `labels_text`.
"""

import duckdb

from pipeline.duck import quoted
from pipeline.onboarding.column_roles import Roles, times
from pipeline.onboarding.feeds import plain_name
from pipeline.onboarding.guesses import Guess

MOST_FEATURES = 6
FEATURES = """\
-- DRAFT by `barometer init`: one row for each customer and product in {source} by the week's end.
-- The week lies between the instants $week_start and $week_end; what was not known by $week_end is hidden already.
-- Sum only integers and decimals: the sum of floats depends on the order of the rows.
SELECT
    CAST({customer} AS VARCHAR) AS customer_id,
    CAST({product} AS VARCHAR) AS product_id,
    count(*) AS rows_so_far,
    count(*) FILTER (WHERE {time} >= $week_start - INTERVAL 3 WEEKS) AS rows_in_four_weeks,
    date_diff('day', max({time}), $week_end) AS days_since_last{columns}
FROM {source}
WHERE {customer} IS NOT NULL AND {product} IS NOT NULL
GROUP BY ALL
"""
LABELS = """\
-- DRAFT by `barometer init`: who was satisfied with which week, and when the company knew.
-- An answer of {least} or more means satisfied. It is about the week before it was given. Of several answers in a
-- week, the last one counts.
SELECT
    CAST({customer} AS VARCHAR) AS customer_id,
    CAST({product} AS VARCHAR) AS product_id,
    CAST(date_trunc('week', {time}) AS DATE) - 7 AS week,
    arg_max({answer}, ({time}, {answer})) >= {least} AS satisfied,
    max({time}) AS observed_at
FROM {source}
WHERE {answer} IS NOT NULL AND {customer} IS NOT NULL AND {product} IS NOT NULL
GROUP BY ALL
"""
NO_FEATURES = """\
-- DRAFT by `barometer init`: no source with times has a column for the customer and one for the product. Join the
-- sources that have them, and return one row for each customer and product: customer_id, product_id and the features.
SELECT
    NULL::VARCHAR AS customer_id,
    NULL::VARCHAR AS product_id,
    0 AS feature
WHERE false
"""
NO_LABELS = """\
-- DRAFT by `barometer init`: nothing in the files looks like an answer. Return one row for each customer, product and
-- week (its Monday) whose satisfaction is known: satisfied (0 or 1), and observed_at, when the company knew it.
SELECT
    NULL::VARCHAR AS customer_id,
    NULL::VARCHAR AS product_id,
    NULL::DATE AS week,
    NULL::BOOLEAN AS satisfied,
    NULL::TIMESTAMPTZ AS observed_at
WHERE false
"""


def features_text(guesses: dict[str, Guess], found: Roles) -> str:
    """Return the text of features.sql."""
    if found.events is None or found.customer is None or found.product is None:
        return NO_FEATURES
    guess = guesses[found.events]
    time = times(guess)[0]
    numbers = [
        column.name
        for column in guess.of_types("integer", "decimal", "boolean")
        if column.name not in {found.customer, found.product}
    ][:MOST_FEATURES]
    columns = "".join(
        f",\n    avg(CAST({_named(name)} AS DECIMAL(18, 4))) AS average_{plain_name(name)}" for name in numbers
    )
    return FEATURES.format(
        source=_named(found.events),
        customer=_named(found.customer),
        product=_named(found.product),
        time=_named(time or ""),
        columns=columns,
    )


def labels_text(guesses: dict[str, Guess], found: Roles) -> str:
    """Return the text of labels.sql."""
    if found.answers is None or found.answer is None or found.customer is None or found.product is None:
        return NO_LABELS
    low, high = float(found.answer.low), float(found.answer.high)
    least = high if high - low <= 1 else round(low + 0.7 * (high - low))
    return LABELS.format(
        source=_named(found.answers),
        customer=_named(found.customer),
        product=_named(found.product),
        time=_named(times(guesses[found.answers])[0] or ""),
        answer=_named(found.answer.name),
        least=f"{least:g}",
    )


def _named(name: str) -> str:
    """Return a name for SQL, in quotes only if it needs them."""
    token = duckdb.tokenize(name)
    is_plain = len(token) == 1 and token[0][1] == duckdb.token_type.identifier and name.isascii() and name.islower()
    return name if is_plain else quoted(name)
