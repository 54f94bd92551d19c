"""The simulation of a chunk's subscriptions, week by week: use, deliveries, tickets, and answers to the survey.

Every week draws from its own generator, seeded by (seed, chunk, week). Only each subscription's slowly changing
engagement and the weeks in `History` carry over to the next week. The entry point is `live`.
"""

from collections.abc import Iterator

import numpy as np

from examples.sample import company
from examples.sample.company import DAY_SECONDS, HOUR_SECONDS, WEEK_SECONDS, Floats, Ints
from examples.sample.events import Answers, Deliveries, LivedWeek, Tickets, Usage
from examples.sample.history import History
from examples.sample.population import Chunk
from examples.sample.satisfaction import true_probability
from pipeline.weeks import Week

_EARLIER = 1 << 20
"""Added to the week in a seed, because weeks before the first are negative and seeds must not be."""


def live(chunk: Chunk, weeks: int, seed: int, first: Week) -> Iterator[LivedWeek]:
    """Yield the weeks of `chunk`, from the first week whose answers can be in the feed to the last.

    Before the feed's start there are only answers, and all windows are empty, as in the feed itself. So the true
    probability follows from the files alone.
    """
    history = History.empty(chunk.subject.size)
    engagement = np.zeros(chunk.subject.size)
    for week in range(-company.LATEST_ANSWER_WEEKS, weeks):
        rng = np.random.default_rng([seed, chunk.number, _EARLIER + week])
        engagement = 0.85 * engagement + rng.normal(0.0, 0.28, engagement.size)
        active = np.flatnonzero((chunk.start_week <= week) & (week < chunk.cancel_week))
        living = active if week >= 0 else active[:0]
        usage = _use(rng, chunk, living, week, np.exp(engagement) * _season(chunk, first.plus(week)))
        deliveries = _deliver(rng, chunk, living, week)
        tickets = _complain(rng, chunk, week, usage, deliveries)
        history.record(week, usage, deliveries, tickets)
        features = history.features(chunk, week, active)
        probability = true_probability(features)
        answers = _answer(rng, active, week, probability)
        yield LivedWeek(week, usage, deliveries, tickets, answers, active, features, probability)


def _season(chunk: Chunk, week: Week) -> Floats:
    """Return each subscription's seasonal factor: one cycle a year, with the peak in the middle of January."""
    angle = 2 * np.pi * (week.monday.timetuple().tm_yday - 15) / 365.25
    factor: Floats = np.exp(np.array([product.season for product in company.PRODUCTS]) * np.cos(angle))
    return factor[chunk.product]


def _use(rng: np.random.Generator, chunk: Chunk, living: Ints, week: int, mood: Floats) -> Usage:
    row = living[rng.random(living.size) < 0.88]
    minutes = np.ceil(chunk.usual_minutes[row] * mood[row] * rng.lognormal(0.0, 0.35, row.size)).astype(np.int64)
    return Usage(
        row=row,
        minutes=np.minimum(minutes, 5_000),
        sessions=1 + rng.poisson(np.minimum(minutes, 5_000) / 35),
        crashes=rng.poisson(0.25, row.size),
        last_used=_moment(rng, chunk, row, week),
    )


def _deliver(rng: np.random.Generator, chunk: Chunk, living: Ints, week: int) -> Deliveries:
    row = living[chunk.delivery_phase[living] == week % 4]
    in_crisis = (chunk.carrier[row] == company.CRISIS_CARRIER) & (week in company.CRISIS_WEEKS)
    is_late = rng.random(row.size) < np.where(in_crisis, company.CRISIS_LATE_FRACTION, company.LATE_FRACTION)
    return Deliveries(
        row=row,
        days_late=np.where(is_late, 1 + rng.poisson(np.where(in_crisis, 5.0, 2.0)), 0),
        delivered=_moment(rng, chunk, row, week),
        is_damaged=rng.random(row.size) < 0.04,
    )


def _complain(rng: np.random.Generator, chunk: Chunk, week: int, usage: Usage, deliveries: Deliveries) -> Tickets:
    """Return tickets: few without a reason, more after crashes, many after a late or damaged box."""
    delivery_trouble = np.zeros(chunk.subject.size)
    delivery_trouble[deliveries.row] = 0.3 * (deliveries.days_late >= 2) + 0.3 * deliveries.is_damaged
    app_trouble = np.zeros(chunk.subject.size)
    app_trouble[usage.row] = 0.06 * usage.crashes
    living = np.union1d(usage.row, deliveries.row)
    row = living[rng.random(living.size) < 0.035 + delivery_trouble[living] + app_trouble[living]]
    cause = np.where(delivery_trouble[row] > 0, 0, np.where(app_trouble[row] > 0, 1, 2 + (rng.random(row.size) < 0.5)))
    opened = _moment(rng, chunk, row, week)
    hours = np.minimum(rng.lognormal(3.6, 1.3, row.size), 24 * 21)
    return Tickets(
        row=row,
        topic=np.where(rng.random(row.size) < 0.05, len(company.TOPICS) - 1, cause),
        opened=opened,
        resolved=opened + np.ceil(hours * HOUR_SECONDS).astype(np.int64),
    )


def _answer(rng: np.random.Generator, active: Ints, week: int, probability: Floats) -> Answers:
    """Return answers: 4 or 5 with the true probability, else 1 to 3, received one to four weeks late."""
    asked = rng.random(active.size) < company.ANSWERED_FRACTION
    row = active[asked]
    is_satisfied = rng.random(row.size) < probability[asked]
    delay_weeks = 1 + np.minimum(rng.geometric(0.5, row.size) - 1, company.LATEST_ANSWER_WEEKS - 1)
    received = (week + delay_weeks) * WEEK_SECONDS + rng.integers(0, WEEK_SECONDS, row.size)
    earliest = (week + 1) * WEEK_SECONDS
    return Answers(
        row=row,
        answer=np.where(is_satisfied, rng.choice([4, 5, 5], row.size), rng.choice([1, 2, 3, 3], row.size)),
        answered=np.maximum(received - rng.integers(0, 3 * DAY_SECONDS, row.size), earliest),
        received=received,
    )


def _moment(rng: np.random.Generator, chunk: Chunk, row: Ints, week: int) -> Ints:
    """Return a second of the week for each row, after the subscription's start."""
    earliest: Ints = np.maximum(week * WEEK_SECONDS, chunk.started[row])
    return earliest + np.floor(rng.random(row.size) * ((week + 1) * WEEK_SECONDS - earliest)).astype(np.int64)
