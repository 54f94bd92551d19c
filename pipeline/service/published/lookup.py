"""What the weekly run has published of a subject: its latest prediction with the lineage, and its latest features.

`contracts.barometer` answers with the one; `published.completing` and the page take what a request leaves out from the
other. The entry point is `Lookup`.
"""

import logging
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import Row, create_engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from pipeline.errors import BarometerError, ConservationError, RequestError
from pipeline.point_in_time.snapshot_rows import PublishedSnapshot
from pipeline.service.instances.signature import Features
from pipeline.settings import Settings
from pipeline.warehouse.bounded import connect

ANSWER_SECONDS = 2
RETRY = {"retry-after": "5"}
MOST_REASONS = 3
"""Most of a quarantined subject's reasons that an error lists."""

Info = dict[str, Any] | None
Digest = Annotated[str | None, Meta(examples=["ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"])]


class PublishedPrediction(msgspec.Struct):  # the columns of `PREDICTION`, and the schema and example in /openapi.json
    """A subject's prediction in the latest published week, with its lineage."""

    customer_id: Annotated[str, Meta(examples=["c0042"])]
    product_id: Annotated[str, Meta(examples=["p1"])]
    week: Annotated[date, Meta(description="The week, named by its Monday.", examples=["2026-11-16"])]
    satisfaction: Annotated[float, Meta(description="Probability that the customer is satisfied.", examples=[0.8134])]
    likely_satisfied: Annotated[bool, Meta(description="Whether that reaches the threshold.", examples=[True])]
    role: Annotated[str, Meta(description="Of the model: champion or challenger.", examples=["champion"])]
    model_version: Annotated[str, Meta(examples=["3"])]
    trained_after_cutoff: Annotated[bool, Meta(description="Whether it saw data after that week.", examples=[False])]
    info: Annotated[Info, Meta(description="What the features' SQL adds for readers.", examples=[{"info_name": "A"}])]
    run_id: Annotated[str, Meta(examples=["2026-11-16.1"])]
    published_at: Annotated[datetime, Meta(tz=True, examples=["2026-11-23T04:12:09.512000Z"])]
    snapshot_digest: Annotated[Digest, Meta(description="SHA-256 of the features: the version of the data.")]
    code_version: Annotated[str | None, Meta(examples=["1.0.0"])]
    config_digest: Annotated[Digest, Meta(description="SHA-256 of the settings that shape results.")]
    bundle_digest: Annotated[Digest, Meta(description="SHA-256 of the list of the model's files.")]


PREDICTION = text(
    f"""
    SELECT {", ".join(PublishedPrediction.__struct_fields__)}
    FROM latest_predictions AS served
    CROSS JOIN LATERAL (
        SELECT published_at, snapshot_digest, code_version, config_digest,
            CASE served.role WHEN 'challenger' THEN routing -> 'challenger' ->> 'bundle_digest'
                ELSE bundle_digest END AS bundle_digest
        FROM prediction_runs WHERE run_id = served.run_id
    ) AS run
    WHERE customer_id = :customer_id AND product_id = :product_id
    """
)
LATEST_SNAPSHOT = text(
    """
    WITH latest AS (
        SELECT published.week, run.run_id, run.snapshot_manifest, run.snapshot_digest
        FROM published_weeks AS published
        INNER JOIN prediction_runs AS run USING (run_id)
        ORDER BY published.week DESC LIMIT 1
    )
    SELECT
        CAST(latest.week AS text) AS week, latest.snapshot_manifest, latest.snapshot_digest,
        kept_out.customer_id, kept_out.product_id, kept_out.reasons
    FROM latest
    LEFT JOIN (
        unnest(CAST(:customer_ids AS text []), CAST(:product_ids AS text [])) AS asked (customer_id, product_id)
        INNER JOIN quarantine AS kept_out USING (customer_id, product_id)
    ) ON latest.run_id = kept_out.run_id
    """
)
"""The latest published week: a row for each of the subjects that were kept out of it, or one row if there is none."""
USUAL = text(
    """
    SELECT product.satisfaction
    FROM published_weeks AS published
    INNER JOIN storage.satisfaction_by_product AS product USING (run_id)
    WHERE product.product_id = :product_id AND product.satisfaction IS NOT NULL
    ORDER BY published.week DESC LIMIT 1
    """
)

log = logging.getLogger(__name__)


class FeatureQuery(NamedTuple):
    """A subject, and the names of the features to look up."""

    customer_id: str
    product_id: str
    names: tuple[str, ...]


class Lookup:
    """Queries the warehouse over a few connections. Any thread may call it.

    Every method raises a `RequestError` 503 while the warehouse does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(settings, answer_seconds=ANSWER_SECONDS, read_only=True),
            isolation_level="AUTOCOMMIT",
            pool_size=3,
            max_overflow=0,
            pool_timeout=ANSWER_SECONDS,
            pool_pre_ping=True,
            pool_use_lifo=True,
        )
        self._is_away = False

    def close(self) -> None:
        """Close the connections that no query uses."""
        self.engine.dispose()

    def prediction(self, customer_id: str, product_id: str) -> PublishedPrediction | None:
        """Return the subject's prediction in the latest published week; None when it has none.

        Raises RequestError 404, with the reasons, when the subject was kept out of that week.
        """
        if not _is_storable(customer_id, product_id):
            return None
        rows = self.rows(PREDICTION, customer_id=customer_id, product_id=product_id)
        if rows:
            return PublishedPrediction(*list(rows[0]))
        latest = self.rows(LATEST_SNAPSHOT, customer_ids=[customer_id], product_ids=[product_id])
        if latest and latest[0].reasons is not None:
            raise _kept_out(latest[0], status=404)
        return None

    def features(self, queries: Sequence[FeatureQuery]) -> list[Features | RequestError | None]:
        """Return for each query the subject's features in the latest published snapshot, by one query to the warehouse.

        None when the snapshot does not have the subject, or nothing was ever published. An error 422 when the subject
        was kept out or the snapshot lacks a feature. Raises 503 also when its files are not as they were written.
        """
        storable = [query for query in queries if _is_storable(*query[:2])]
        ids = {"customer_ids": [query[0] for query in storable], "product_ids": [query[1] for query in storable]}
        latest = self.rows(LATEST_SNAPSHOT, **ids) if storable else []
        if not latest or latest[0].snapshot_manifest is None:
            return [None] * len(queries)
        kept_out = {(row.customer_id, row.product_id): row for row in latest if row.reasons is not None}
        snapshot = PublishedSnapshot(latest[0].week, Path(latest[0].snapshot_manifest), latest[0].snapshot_digest)
        answers: dict[FeatureQuery, Features | RequestError | None] = {}
        try:
            for query in storable:
                row = kept_out.get(query[:2])
                answers[query] = _answer(snapshot, query) if row is None else _kept_out(row, status=422)
        except ConservationError as error:
            log.error("The latest snapshot cannot be used: %s", error)  # noqa: TRY400 - bad files, not bad code
            found = f"The snapshot of the week {snapshot.week} cannot be used: its files are not as the run wrote them."
            do = "send all features; the week is to be run again with rebuild."
            raise RequestError(503, found, "the files by which the week was published.", do, headers=RETRY) from None
        return [answers.get(query) for query in queries]

    def usual(self, product_id: str) -> float | None:
        """Return the mean satisfaction with a product in its latest published week; None when it has none."""
        rows = self.rows(USUAL, product_id=product_id) if _is_storable(product_id) else []
        return float(rows[0].satisfaction) if rows else None

    def rows(self, query: Any, **parameters: str | list[str]) -> Sequence[Row[Any]]:
        """Return the rows of a query."""
        try:
            with self.engine.connect() as connection:
                rows = connection.execute(query, parameters).all()
        except (OperationalError, InterfaceError, NoConnectionError, BarometerError) as error:
            if not self._is_away:  # logged once, not for every request
                log.warning("The warehouse cannot be asked: %s", error)
            self._is_away = True
            do = "try again in some seconds; predictions of features that are sent whole go on."
            found, expected = "The warehouse does not answer.", "what the weekly run has published."
            raise RequestError(503, found, expected, do, headers=RETRY) from None
        self._is_away = False
        return rows


def _answer(snapshot: PublishedSnapshot, query: FeatureQuery) -> Features | RequestError | None:
    absent = next((name for name in query.names if name not in snapshot.features), None)
    if absent is None:
        values = snapshot.row(*query)
        return None if values is None else (snapshot.week, values)
    found = f"The latest snapshot, of the week {snapshot.week}, does not have the model's feature {absent[:80]!r}."
    do = "send it, null if it is not known."
    return RequestError(422, found, "a value for it in the request.", do, field=absent)


def _is_storable(*texts: str) -> bool:
    """Return whether PostgreSQL can hold the texts; no subject has an id that it cannot hold."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for given in texts for character in given)


def _kept_out(latest: Row[Any], status: int) -> RequestError:
    reasons = [*latest.reasons[:MOST_REASONS], *(["…"] if len(latest.reasons) > MOST_REASONS else [])]
    found = f"This subject was kept out of the week {latest.week}: {', '.join(reasons)}."
    do = "mend its data for the next run, or send all features: POST /predict."
    return RequestError(status, found, "a subject whose features pass the expectations.", do)
