"""The last weeks of a chunk's subscriptions, and the plain features computed from them.

These are the features of `sql/features.sql`, computed a second time from the events themselves. They are not part of
the pipeline: the feed's true probabilities depend on them. A test checks that both are equal.
"""

from dataclasses import dataclass

import numpy as np

from examples.sample import company
from examples.sample.company import DAY_SECONDS, HOUR_SECONDS, WEEK_SECONDS, Bools, Floats, Ints
from examples.sample.events import Deliveries, Tickets, Usage
from examples.sample.population import Chunk

USAGE_WEEKS = 4
DELIVERY_WEEKS = 6
TICKET_WEEKS = 8
LONG_AGO = -(1 << 40)
NO_DELIVERY = -1
FEW_MINUTES = 30
"""With fewer minutes in three weeks, a change in percent is meaningless and is NULL."""


@dataclass
class History:
    """Ring buffers of the last weeks: week `w` is row `w % len(ring)`, with one column for each subscription."""

    minutes: Ints
    crashes: Ints
    last_used: Ints
    days_late: Ints
    is_damaged: Bools
    topic: Ints
    opened: Ints
    resolved: Ints

    @classmethod
    def empty(cls, size: int) -> "History":
        """Return the history of `size` subscriptions without events."""
        return cls(
            minutes=np.zeros((USAGE_WEEKS, size), np.int64),
            crashes=np.zeros((USAGE_WEEKS, size), np.int64),
            last_used=np.full((USAGE_WEEKS, size), LONG_AGO),
            days_late=np.full((DELIVERY_WEEKS, size), NO_DELIVERY),
            is_damaged=np.zeros((DELIVERY_WEEKS, size), np.bool_),
            topic=np.zeros((TICKET_WEEKS, size), np.int64),
            opened=np.full((TICKET_WEEKS, size), LONG_AGO),
            resolved=np.full((TICKET_WEEKS, size), LONG_AGO),
        )

    def record(self, week: int, usage: Usage, deliveries: Deliveries, tickets: Tickets) -> None:
        """Record a week in place of the one that has left the window."""
        _overwrite(self.minutes, week, usage.row, usage.minutes, 0)
        _overwrite(self.crashes, week, usage.row, usage.crashes, 0)
        _overwrite(self.last_used, week, usage.row, usage.last_used, LONG_AGO)
        _overwrite(self.days_late, week, deliveries.row, deliveries.days_late, NO_DELIVERY)
        _overwrite(self.is_damaged, week, deliveries.row, deliveries.is_damaged, 0)
        _overwrite(self.topic, week, tickets.row, tickets.topic, 0)
        _overwrite(self.opened, week, tickets.row, tickets.opened, LONG_AGO)
        _overwrite(self.resolved, week, tickets.row, tickets.resolved, LONG_AGO)

    def features(self, chunk: Chunk, week: int, active: Ints) -> dict[str, Floats]:
        """Return the plain features of the active subscriptions at the end of `week`, with categories as indices."""
        cutoff = (week + 1) * WEEK_SECONDS
        columns = {
            **_subscription_features(chunk, active, cutoff),
            **self._usage_features(week, active, cutoff),
            **self._delivery_features(chunk, active),
            **self._ticket_features(active, cutoff),
        }
        return {name: values.astype(np.float64) for name, values in columns.items()}

    def _usage_features(self, week: int, active: Ints, cutoff: int) -> dict[str, Floats]:
        minutes = self.minutes[:, active]
        this_week = minutes[week % USAGE_WEEKS]
        before = minutes.sum(axis=0) - this_week
        last_used = self.last_used[:, active].max(axis=0)
        change = 100.0 * (3 * this_week - before) / np.maximum(before, 1)
        return {
            "minutes_this_week": this_week.astype(np.float64),
            "minutes_three_weeks_before": before.astype(np.float64),
            "minutes_change_percent": np.where(before < FEW_MINUTES, np.nan, change),
            "crashes": self.crashes[:, active].sum(axis=0).astype(np.float64),
            "days_since_last_use": np.where(last_used == LONG_AGO, np.nan, (cutoff - last_used) // DAY_SECONDS),
        }

    def _delivery_features(self, chunk: Chunk, active: Ints) -> dict[str, Floats]:
        days_late = self.days_late[:, active]
        worst = days_late.max(axis=0)
        has_none = worst == NO_DELIVERY
        return {
            "late_deliveries": (days_late > 0).sum(axis=0).astype(np.float64),
            "worst_days_late": np.where(has_none, np.nan, worst),
            "had_damage": np.where(has_none, np.nan, self.is_damaged[:, active].any(axis=0)),
            "carrier": np.where(has_none, np.nan, chunk.carrier[active]),
        }

    def _ticket_features(self, active: Ints, cutoff: int) -> dict[str, Floats]:
        opened, resolved = self.opened[:, active], self.resolved[:, active]
        is_ticket = opened != LONG_AGO
        hours = np.where(is_ticket & (resolved < cutoff), (resolved - opened) // HOUR_SECONDS, -1).max(axis=0)
        latest = np.take_along_axis(self.topic[:, active], opened.argmax(axis=0)[np.newaxis], axis=0)[0]
        return {
            "tickets": is_ticket.sum(axis=0).astype(np.float64),
            "open_tickets": (is_ticket & (resolved >= cutoff)).sum(axis=0).astype(np.float64),
            "slowest_answer_hours": np.where(hours < 0, np.nan, hours),
            "latest_topic": np.where(is_ticket.any(axis=0), latest, np.nan),
        }


def _overwrite(ring: Ints | Bools, week: int, row: Ints, values: Ints | Bools, nothing: int) -> None:
    line = ring[week % len(ring)]
    line[:] = nothing
    line[row] = values


def _subscription_features(chunk: Chunk, active: Ints, cutoff: int) -> dict[str, Floats]:
    customer, product, plan = chunk.customer[active], chunk.product[active], chunk.plan[active]
    held = np.bincount(customer, minlength=chunk.customer_joined.size)
    region = chunk.customer_region[customer]
    return {
        "product_category": company.CATEGORY_OF_PRODUCT[product].astype(np.float64),
        "plan": plan.astype(np.float64),
        "region": np.where(region == len(company.REGIONS) - 1, np.nan, region),
        "monthly_value": monthly_cents(product, plan) / 100,
        "tenure_weeks": ((cutoff - chunk.started[active]) // WEEK_SECONDS).astype(np.float64),
        "products_held": held[customer].astype(np.float64),
    }


def monthly_cents(product: Ints, plan: Ints) -> Ints:
    """Return the monthly prices of these subscriptions in cents."""
    prices: Ints = np.array([item.price_cents for item in company.PRODUCTS])
    percent: Ints = np.array(company.PLAN_PRICE_PERCENT)
    return prices[product] * percent[plan] // 100
