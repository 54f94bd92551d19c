"""The customers and their subscriptions, drawn once for each chunk of customers before its weeks are simulated.

A chunk is dropped once its rows are written, so memory is bounded. The draws depend only on the seed and the chunk's
number, not on the number of weeks. The entry point is `draw_chunk`.
"""

from dataclasses import dataclass, field

import numpy as np

from examples.sample import company
from examples.sample.company import WEEK_SECONDS, Floats, Ints

CHUNK_CUSTOMERS = 1 << 16
PRODUCTS_PER_CUSTOMER = 3
"""The largest number of products; it gives each possible subject a unique number."""


@dataclass(frozen=True)
class Chunk:
    """Some thousands of customers and their subscriptions.

    Weeks are counted from the first week of the feed (0), seconds from its start. Arrays whose name begins with
    customer_ have one entry for each customer, the others one for each subscription. Names, regions and other
    categories are indices into the lists of `company`.
    """

    number: int
    first_customer: int
    customer_first_name: Ints
    customer_last_name: Ints
    customer_segment: Ints
    customer_region: Ints
    customer_joined: Ints
    """Seconds."""
    customer: Ints
    """Index of the subscription's customer in the chunk."""
    subject: Ints
    """The subscription's number, unique in the company."""
    product: Ints
    plan: Ints
    carrier: Ints
    started: Ints
    """Seconds."""
    cancelled: Ints
    """Seconds; usually long after the feed's end."""
    usual_minutes: Floats
    delivery_phase: Ints
    """The box is delivered in weeks whose number has this remainder modulo four."""
    start_week: Ints = field(init=False)
    cancel_week: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Derive the weeks in which subscriptions start and end."""
        object.__setattr__(self, "start_week", self.started // WEEK_SECONDS)
        object.__setattr__(self, "cancel_week", self.cancelled // WEEK_SECONDS)


def draw_chunk(number: int, customers: int, seed: int) -> Chunk:
    """Return chunk `number` of a company with `customers` customers in all chunks."""
    first = number * CHUNK_CUSTOMERS
    size = min(CHUNK_CUSTOMERS, customers - first)
    rng = np.random.default_rng([seed, number])
    joined_week = np.where(
        rng.random(size) < company.EARLY_CUSTOMERS_FRACTION,
        -1 - np.floor(rng.exponential(45, size)).astype(np.int64),
        rng.integers(0, company.JOINING_WEEKS, size),
    )
    joined = joined_week * WEEK_SECONDS + rng.integers(0, WEEK_SECONDS, size)
    held = 1 + _pick(rng, company.PRODUCTS_HELD_SHARES, size)
    customer = np.repeat(np.arange(size), held)
    slot = np.arange(customer.size) - np.repeat(np.cumsum(held) - held, held)
    favourite = _pick(rng, company.PRODUCT_SHARES, size)
    step = rng.choice([1, len(company.PRODUCTS) - 1], size)  # both leave three steps on three different products
    product = (favourite[customer] + slot * step[customer]) % len(company.PRODUCTS)
    started = joined[customer] + slot * rng.integers(0, 12 * WEEK_SECONDS, customer.size)
    lived_weeks = rng.geometric(company.CANCELLED_PER_WEEK_FRACTION, customer.size)
    usual = np.array([p.usual_minutes for p in company.PRODUCTS])[product]
    return Chunk(
        number=number,
        first_customer=first,
        customer_first_name=rng.integers(0, len(company.FIRST_NAMES), size),
        customer_last_name=rng.integers(0, len(company.LAST_NAMES), size),
        customer_segment=_pick(rng, company.SEGMENT_SHARES, size),
        customer_region=_pick(rng, company.REGION_SHARES, size),
        customer_joined=joined,
        customer=customer,
        subject=(first + customer) * PRODUCTS_PER_CUSTOMER + slot,
        product=product,
        plan=_pick(rng, company.PLAN_SHARES, customer.size),
        carrier=_pick(rng, company.CARRIER_SHARES, customer.size),
        started=started,
        cancelled=np.maximum(started, 0) + lived_weeks * WEEK_SECONDS + rng.integers(0, WEEK_SECONDS, customer.size),
        usual_minutes=usual * rng.lognormal(0.0, 0.75, customer.size),
        delivery_phase=rng.integers(0, 4, customer.size),
    )


def _pick(rng: np.random.Generator, shares: tuple[float, ...], size: int) -> Ints:
    """Return indices drawn with these probabilities."""
    return np.searchsorted(np.cumsum(shares[:-1]), rng.random(size), side="right").astype(np.int64)
