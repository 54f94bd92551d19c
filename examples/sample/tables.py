"""The events as Arrow tables with the feed's column names.

The entry points are `products` and the methods of `ChunkTables`, one for each other source.
"""

from datetime import UTC, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from examples.sample import company
from examples.sample.company import DAY_SECONDS, WEEK_SECONDS, Ints
from examples.sample.events import Answers, Deliveries, Tickets, Usage
from examples.sample.history import monthly_cents
from examples.sample.population import Chunk
from pipeline.weeks import Week

_WEEK_NUMBER = 10_000_000_000
"""A delivery's or ticket's number is the week's ordinal times this, plus the subject's number, which is smaller."""


def products() -> pa.Table:
    """Return the products on sale."""
    return pa.table(
        {
            "product_id": [product.product_id for product in company.PRODUCTS],
            "name": [product.name for product in company.PRODUCTS],
            "category": [product.category for product in company.PRODUCTS],
            "monthly_price": [f"{product.price_cents / 100:.2f}" for product in company.PRODUCTS],
        }
    )


class ChunkTables:
    """The tables of one chunk of customers, whose seconds are counted from the start of the feed's first week."""

    def __init__(self, chunk: Chunk, first: Week) -> None:
        self._chunk = chunk
        self._first = first
        self._start_epoch = int(datetime.combine(first.monday, time(), UTC).timestamp())
        size = chunk.customer_joined.size
        self._customer_ids = pa.array([f"C{chunk.first_customer + index + 1:08d}" for index in range(size)])
        names = pa.array([f"{given} {family}" for given in company.FIRST_NAMES for family in company.LAST_NAMES])
        self._customer_names = names.take(
            pa.array(chunk.customer_first_name * len(company.LAST_NAMES) + chunk.customer_last_name)
        )

    def customers(self, weeks: int) -> pa.Table:
        """Return the customers who joined before the end of the feed's first `weeks` weeks."""
        chunk = self._chunk
        row = np.flatnonzero(chunk.customer_joined < weeks * WEEK_SECONDS)
        return pa.table(
            {
                "customer_id": self._customer_ids.take(pa.array(row)),
                "name": self._customer_names.take(pa.array(row)),
                "segment": _named(company.SEGMENTS, chunk.customer_segment[row]),
                "region": _named(company.REGIONS, chunk.customer_region[row]),
                "joined_at": self._instants(chunk.customer_joined[row]),
            }
        )

    def subscriptions(self, weeks: int) -> pa.Table:
        """Return the subscriptions that started by then, with their end if they ended by then."""
        chunk = self._chunk
        row = np.flatnonzero(chunk.started < weeks * WEEK_SECONDS)
        cents, price = np.unique(monthly_cents(chunk.product[row], chunk.plan[row]), return_inverse=True)
        is_over = chunk.cancelled[row] < weeks * WEEK_SECONDS
        return self.keyed(
            row,
            plan=_named(company.PLANS, chunk.plan[row]),
            monthly_value=_named([f"{amount / 100:.2f}" for amount in cents], price),
            started_at=self._instants(chunk.started[row]),
            cancelled_at=pc.if_else(pa.array(is_over), self._instants(chunk.cancelled[row]), None),
        )

    def usage(self, week: int, usage: Usage) -> pa.Table:
        """Return the weekly use."""
        return self.keyed(
            usage.row,
            week=pa.array(np.full(usage.row.size, self._first.plus(week).monday, "datetime64[D]")),
            minutes=usage.minutes,
            sessions=usage.sessions,
            crashes=usage.crashes,
            last_used_at=self._instants(usage.last_used),
        )

    def deliveries(self, week: int, deliveries: Deliveries) -> pa.Table:
        """Return the boxes delivered in the week."""
        row = deliveries.row
        day = (self._start_epoch + deliveries.delivered) // DAY_SECONDS
        return self.keyed(
            row,
            delivery_id=self._numbers(week, row),
            carrier=_named(company.CARRIERS, self._chunk.carrier[row]),
            promised_on=(day - deliveries.days_late).astype("datetime64[D]"),
            delivered_at=self._instants(deliveries.delivered),
            is_damaged=deliveries.is_damaged,
        )

    def tickets(self, week: int, tickets: Tickets) -> pa.Table:
        """Return the tickets opened in the week."""
        return self.keyed(
            tickets.row,
            ticket_id=self._numbers(week, tickets.row),
            topic=_named(company.TOPICS, tickets.topic),
            opened_at=self._instants(tickets.opened),
            resolved_at=self._instants(tickets.resolved),
        )

    def answers(self, week: int, answers: Answers) -> pa.Table:
        """Return the answers about the week, in whichever week they were received."""
        return self.keyed(
            answers.row,
            about_week=pa.array(np.full(answers.row.size, self._first.plus(week).monday, "datetime64[D]")),
            answer=answers.answer,
            answered_at=self._instants(answers.answered),
            received_at=self._instants(answers.received),
        )

    def keyed(self, row: Ints, **columns: Any) -> pa.Table:
        """Return a table with the keys of the subscriptions in `row`, then these columns."""
        product_ids = [product.product_id for product in company.PRODUCTS]
        return pa.table(
            {
                "customer_id": self._customer_ids.take(pa.array(self._chunk.customer[row])),
                "product_id": _named(product_ids, self._chunk.product[row]),
                **columns,
            }
        )

    def _numbers(self, week: int, row: Ints) -> Ints:
        return self._first.plus(week).monday.toordinal() // 7 * _WEEK_NUMBER + self._chunk.subject[row]

    def _instants(self, seconds: Ints) -> pa.Array:
        return pa.array(self._start_epoch + seconds).cast(pa.timestamp("s", "UTC"))


def _named(names: Any, index: Ints) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index))
