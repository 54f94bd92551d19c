"""What the weekly run has published of a subject: its latest prediction with the lineage, and its latest features.

`GET /predictions/{customer_id}/{product_id}` answers the one; `POST /predict` completes what a request leaves out from
the other; the page tells a product's usual. The entry points are `Lookup` and `routes`.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, create_engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from pipeline.errors import BarometerError, ConservationError, RequestError
from pipeline.service.calls import Answer, Call, Route
from pipeline.service.connection import connect
from pipeline.service.lookup_operation import OPERATION
from pipeline.service.signature import Values
from pipeline.service.snapshot_rows import Snapshot, features_of, kinds
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.service.parts import Parts

CONNECTIONS = 3
ANSWER_SECONDS = 2
RETRY_SECONDS = b"5"
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
    SELECT CAST(published.week AS text) AS week, run.snapshot_manifest, run.snapshot_digest, kept_out.reasons
    FROM published_weeks AS published
    INNER JOIN prediction_runs AS run USING (run_id)
    LEFT JOIN quarantine AS kept_out
        ON kept_out.run_id = run.run_id
        AND kept_out.customer_id = :customer_id AND kept_out.product_id = :product_id
    ORDER BY published.week DESC LIMIT 1
    """
)
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
        self._state: dict[str, str] = {"state": "not asked yet"}

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
        latest = self._latest(customer_id, product_id)
        if latest is not None and latest.reasons is not None:
            raise _kept_out(latest, status=404)
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
        latest = self._latest(customer_id, product_id) if _is_storable(customer_id, product_id) else None
        if latest is None or latest.snapshot_manifest is None:
            return None
        if latest.reasons is not None:
            raise _kept_out(latest, status=422)
        snapshot = Snapshot(latest.week, Path(latest.snapshot_manifest), latest.snapshot_digest)
        try:
            known = kinds(snapshot)
            absent = [name for name in names if known.get(name) not in {"number", "category"}]
            if absent:
                raise _no_feature(latest.week, absent[0])
            values = features_of(snapshot, customer_id, product_id, names)
        except ConservationError as error:
            log.error("The latest snapshot cannot be used: %s", error)  # noqa: TRY400 - bad files, not bad code
            raise _altered(latest.week) from None
        return None if values is None else (latest.week, values)

    def usual(self, product_id: str) -> float | None:
        """Return the mean satisfaction with a product in its latest published week; None when it has none."""
        rows = self._rows(USUAL, product_id=product_id) if _is_storable(product_id) else []
        return float(rows[0].satisfaction) if rows else None

    def state(self) -> dict[str, str]:
        """Return what the last look into the warehouse met: `state` (available, away) and, if away, since when."""
        return self._state

    def _latest(self, customer_id: str, product_id: str) -> Row[Any] | None:
        rows = self._rows(LATEST, customer_id=customer_id, product_id=product_id)
        return rows[0] if rows else None

    def _rows(self, query: Any, **parameters: str) -> Sequence[Row[Any]]:
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(query, parameters).all()
        except (OperationalError, InterfaceError, NoConnectionError, BarometerError) as error:
            if self._state["state"] != "away":
                log.warning("The warehouse cannot be asked: %s", error)
                self._state = {"state": "away", "since": datetime.now(UTC).isoformat(timespec="seconds")}
            raise _away() from None
        self._state = {"state": "available"}
        return rows


def routes(parts: "Parts") -> list[Route]:
    """Return the route of published predictions."""
    path = "/predictions/{customer_id}/{product_id}"
    return [Route("GET", path, partial(_prediction, parts), scope="predict", operation=OPERATION)]


async def _prediction(parts: "Parts", call: Call) -> Answer:
    if parts.lookup is None:
        raise RequestError(
            status=501,
            found="This service runs from a model's files, without a warehouse.",
            expected="a service beside the weekly run, for what that has published.",
            do="send the features: POST /predict.",
        )
    customer_id, product_id = call.path_parameters["customer_id"], call.path_parameters["product_id"]
    found = await asyncio.to_thread(parts.lookup.prediction, customer_id, product_id)
    if found is None:
        raise RequestError(
            status=404,
            found="The latest published week has no prediction for this customer and product.",
            expected="a customer_id and product_id of that week, percent-encoded.",
            do="correct them, or send the features: POST /predict.",
        )
    return Answer(msgspec.json.encode(found))


def _is_storable(*texts: str) -> bool:
    """Return whether PostgreSQL can hold the texts; what it cannot, nobody has."""
    return not any("\0" in given or any("\ud800" <= character <= "\udfff" for character in given) for given in texts)


def _kept_out(latest: Row[Any], status: int) -> RequestError:
    reasons = [*latest.reasons[:REASONS], *(["…"] if len(latest.reasons) > REASONS else [])]
    return RequestError(
        status=status,
        found=f"This subject was kept out of the week {latest.week}: {', '.join(reasons)}.",
        expected="a subject whose features pass the expectations.",
        do="mend its data for the next run, or send all features: POST /predict.",
    )


def _no_feature(week: str, name: str) -> RequestError:
    return RequestError(
        status=422,
        found=f"The latest snapshot, of the week {week}, does not have the model's feature {name[:80]!r}.",
        expected="a value for it in the request.",
        do="send it, null if it is not known.",
        field=name,
    )


def _altered(week: str) -> RequestError:
    return RequestError(
        status=503,
        found=f"The snapshot of the week {week} cannot be used: its files are not as the run wrote them.",
        expected="the files by which the week was published.",
        do="send all features; the week is to be run again with rebuild.",
        headers=((b"retry-after", RETRY_SECONDS),),
    )


def _away() -> RequestError:
    return RequestError(
        status=503,
        found="The warehouse does not answer.",
        expected="what the weekly run has published.",
        do="try again in some seconds; predictions of features that are sent whole go on.",
        headers=((b"retry-after", RETRY_SECONDS),),
    )
