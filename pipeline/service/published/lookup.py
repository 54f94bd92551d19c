"""What the weekly run has published of a subject: its latest prediction with the lineage, and its latest features.

`GET /predictions/{customer_id}/{product_id}` answers the one; `POST /predict` completes what a request leaves out from
the other; the page tells a product's usual. The entry points are `Lookup` and `routes`.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Row, create_engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.responses import Response

from pipeline.errors import BarometerError, ConservationError, RequestError
from pipeline.service.calls import Call, Route, as_json
from pipeline.service.connection import connect
from pipeline.service.instances.signature import Values
from pipeline.service.published.lookup_operation import OPERATION
from pipeline.service.published.snapshot_rows import Snapshot, features_of, kinds
from pipeline.service.thread_pools import warehouse
from pipeline.settings import Settings

CONNECTIONS = 3
ANSWER_SECONDS = 2
RETRY_SECONDS = "5"
REASONS = 3
"""So many of a quarantined subject's reasons are told."""
PREDICTION = text(
    """
    SELECT
        served.customer_id, served.product_id, CAST(served.week AS text) AS week, served.satisfaction,
        served.likely_satisfied, served.role, served.model_version, served.trained_after_cutoff, served.info,
        served.run_id, run.published_at, run.snapshot_digest, run.code_version, run.config_digest,
        CASE served.role WHEN 'challenger' THEN run.routing -> 'challenger' ->> 'bundle_digest'
            ELSE run.bundle_digest END AS bundle_digest
    FROM latest_predictions AS served
    INNER JOIN prediction_runs AS run USING (run_id)
    WHERE served.customer_id = :customer_id AND served.product_id = :product_id
    """
)
LATEST = text(
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
"""The latest published week, once for each of the subjects that were kept out of it, else once."""
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


class Wanted(NamedTuple):
    """A subject, and the features that are asked for."""

    customer_id: str
    product_id: str
    names: tuple[str, ...]


class Lookup:
    """Asks the warehouse, by a few connections; any thread may. Each call raises 503 while the warehouse is away."""

    def __init__(self, settings: Settings) -> None:
        self._engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(settings, answer_seconds=ANSWER_SECONDS, read_only=True),
            isolation_level="AUTOCOMMIT",
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=ANSWER_SECONDS,
            pool_pre_ping=True,
            pool_use_lifo=True,
        )
        self._is_away = False

    def prediction(self, customer_id: str, product_id: str) -> dict[str, Any] | None:
        """Return the subject's prediction in the latest published week, with its lineage; None when it has none.

        Raises
        ------
        RequestError
            404 when the subject was kept out of that week, with the reasons; 503.
        """
        if not _is_storable(customer_id, product_id):
            return None
        rows = self._rows(PREDICTION, customer_id=customer_id, product_id=product_id)
        if rows:
            return {**rows[0]._mapping, "published_at": rows[0].published_at.isoformat()}  # noqa: SLF001 - its public API
        latest = self._rows(LATEST, customer_ids=[customer_id], product_ids=[product_id])
        if latest and latest[0].reasons is not None:
            raise _kept_out(latest[0], status=404)
        return None

    def features(self, customer_id: str, product_id: str, names: Sequence[str]) -> tuple[str, Values] | None:
        """Return the week of the latest published snapshot and the subject's features there, in the order of `names`.

        None when the subject is not in it, or nothing was ever published.

        Raises
        ------
        RequestError
            422 when the subject was kept out of that week, or the snapshot does not have a feature; 503 also when the
            snapshot's files are not as they were written.
        """
        (found,) = self.features_of([Wanted(customer_id, product_id, tuple(names))])
        if isinstance(found, RequestError):
            raise found
        return found

    def features_of(self, wanted: Sequence[Wanted]) -> list[tuple[str, Values] | RequestError | None]:
        """Return for each what `features` returns, or raises with 422, of the same week and by one query.

        Raises
        ------
        RequestError
            503, as `features`.
        """
        askable = [one for one in wanted if _is_storable(one.customer_id, one.product_id)]
        ids = {"customer_ids": [one.customer_id for one in askable], "product_ids": [one.product_id for one in askable]}
        latest = self._rows(LATEST, **ids) if askable else []
        if not latest or latest[0].snapshot_manifest is None:
            return [None] * len(wanted)
        refusals = {
            (row.customer_id, row.product_id): _kept_out(row, status=422) for row in latest if row.reasons is not None
        }
        snapshot = Snapshot(latest[0].week, Path(latest[0].snapshot_manifest), latest[0].snapshot_digest)
        try:
            return [refusals.get(one[:2]) or _in_snapshot(snapshot, one) for one in wanted]
        except ConservationError as error:
            log.error("The latest snapshot cannot be used: %s", error)  # noqa: TRY400 - bad files, not bad code
            raise _altered(snapshot.week) from None

    def usual(self, product_id: str) -> float | None:
        """Return the mean satisfaction with a product in its latest published week; None when it has none."""
        rows = self._rows(USUAL, product_id=product_id) if _is_storable(product_id) else []
        return float(rows[0].satisfaction) if rows else None

    def _rows(self, query: Any, **parameters: str | list[str]) -> Sequence[Row[Any]]:
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(query, parameters).all()
        except (OperationalError, InterfaceError, NoConnectionError, BarometerError) as error:
            if not self._is_away:  # told once, not for each that asks
                log.warning("The warehouse cannot be asked: %s", error)
            self._is_away = True
            raise _away() from None
        self._is_away = False
        return rows


def routes(lookup: Lookup | None) -> list[Route]:
    """Return the route of published predictions."""
    path = "/predictions/{customer_id}/{product_id}"
    return [Route("GET", path, partial(_prediction, lookup), scope="predict", operation=OPERATION)]


async def _prediction(lookup: Lookup | None, call: Call) -> Response:
    if lookup is None:
        raise RequestError(
            501,
            "This service runs from a model's files, without a warehouse.",
            "a service beside the weekly run, for what that has published.",
            "send the features: POST /predict.",
        )
    customer_id, product_id = call.path_params["customer_id"], call.path_params["product_id"]
    found = await warehouse(lookup.prediction, customer_id, product_id)
    if found is None:
        raise RequestError(
            404,
            "The latest published week has no prediction for this customer and product.",
            "a customer_id and product_id of that week, percent-encoded.",
            "correct them, or send the features: POST /predict.",
        )
    return as_json(found)


def _in_snapshot(snapshot: Snapshot, wanted: Wanted) -> tuple[str, Values] | RequestError | None:
    known = kinds(snapshot)
    absent = [name for name in wanted.names if known.get(name) not in {"number", "category"}]
    if absent:
        return _no_feature(snapshot.week, absent[0])
    values = features_of(snapshot, *wanted)
    return None if values is None else (snapshot.week, values)


def _is_storable(*texts: str) -> bool:
    """Return whether PostgreSQL can hold the texts; what it cannot, nobody has."""
    return not any("\0" in given or any("\ud800" <= character <= "\udfff" for character in given) for given in texts)


def _kept_out(latest: Row[Any], status: int) -> RequestError:
    reasons = [*latest.reasons[:REASONS], *(["…"] if len(latest.reasons) > REASONS else [])]
    return RequestError(
        status,
        f"This subject was kept out of the week {latest.week}: {', '.join(reasons)}.",
        "a subject whose features pass the expectations.",
        "mend its data for the next run, or send all features: POST /predict.",
    )


def _no_feature(week: str, name: str) -> RequestError:
    return RequestError(
        422,
        f"The latest snapshot, of the week {week}, does not have the model's feature {name[:80]!r}.",
        "a value for it in the request.",
        "send it, null if it is not known.",
        field=name,
    )


def _altered(week: str) -> RequestError:
    return RequestError(
        503,
        f"The snapshot of the week {week} cannot be used: its files are not as the run wrote them.",
        "the files by which the week was published.",
        "send all features; the week is to be run again with rebuild.",
        headers={"retry-after": RETRY_SECONDS},
    )


def _away() -> RequestError:
    return RequestError(
        503,
        "The warehouse does not answer.",
        "what the weekly run has published.",
        "try again in some seconds; predictions of features that are sent whole go on.",
        headers={"retry-after": RETRY_SECONDS},
    )
