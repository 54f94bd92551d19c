"""The record of what was answered is exact, in order and bounded, for any request and any failure of the database."""

import json
import math
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline.service.app import Application
from pipeline.service.record import recorder as record
from pipeline.service.record.recorder import Recorder
from pipeline.settings import Settings
from pipeline.sources.stream import NUL
from pipeline.warehouse import engine, online_predictions, transaction
from pipeline.warehouse.online_predictions import OnlinePredictions, Record, lines
from tests.company import company_settings
from tests.service.proxy import Wire
from tests.waiting import until

NAMES = ("events", "amount", "is_busy", "kind")
COLUMNS = "request_id, row, customer_id, product_id, features, features_week, satisfaction, likely_satisfied, role,"
COLUMNS += " model_version, contract, served"


def made(number: int = 0, **changed: Any) -> Record:
    """A record; arguments change its fields."""
    fields: dict[str, Any] = {
        "predicted_at": 1_790_000_000.25 + number,
        "request_id": f"request-{number}",
        "row": 0,
        "customer_id": f"c{number}",
        "product_id": None,
        "features": (1.5, None, True, "a"),
        "features_week": None,
        "satisfaction": 0.1 + 0.2,
        "likely_satisfied": True,
        "role": "champion",
        "model_version": "3",
        "contract": "barometer",
        "served": True,
    }
    return Record(**{**fields, **changed})


def with_bound(settings: Settings, rows: int) -> Settings:
    return settings.model_copy(update={"service": settings.service.model_copy(update={"record_rows": rows})})


def rows(settings: Settings, columns: str = COLUMNS) -> list[tuple[Any, ...]]:
    query = text(f"SELECT {columns} FROM online_predictions ORDER BY predicted_at, request_id, row, served DESC")
    with transaction(settings) as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.fixture
def recorder(warehouse_settings: Settings) -> Iterator[Recorder]:
    started = Recorder(warehouse_settings)
    started.start()
    yield started
    started.stop()


def test_each_record_is_a_row_that_says_all_of_it(warehouse_settings: Settings, recorder: Recorder):
    shadow = made(1, role="challenger", model_version="4", served=False, likely_satisfied=False, satisfaction=0.25)
    completed = made(2, product_id="p", features_week="2026-01-05", row=7, contract="vertex", customer_id="")
    recorder.put(NAMES, [made(0), made(1), shadow])
    recorder.put((*NAMES[1:], "other"), [completed])
    until(lambda: recorder.written == 4)
    features = {"events": 1.5, "amount": None, "is_busy": True, "kind": "a"}
    other = {"amount": 1.5, "is_busy": None, "kind": True, "other": "a"}
    same = (features, None, 0.1 + 0.2, True, "champion", "3", "barometer", True)
    assert rows(warehouse_settings) == [
        ("request-0", 0, "c0", None, *same),
        ("request-1", 0, "c1", None, *same),
        ("request-1", 0, "c1", None, features, None, 0.25, False, "challenger", "4", "barometer", False),
        ("request-2", 7, "", "p", other, date(2026, 1, 5), 0.1 + 0.2, True, "champion", "3", "vertex", True),
    ]
    assert rows(warehouse_settings, "predicted_at")[0] == (datetime.fromtimestamp(1_790_000_000.25, UTC),)
    assert (recorder.waiting, recorder.dropped, recorder.state) == (0, 0, {"state": "recording"})


def test_stopping_writes_what_is_waiting_in_order(warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record, "STOP_SECONDS", 60)  # the databases are to be made first
    recorder = Recorder(warehouse_settings)
    recorder.start()
    for number in range(0, 1000, 5):
        recorder.put(NAMES, [made(number + more) for more in range(5)])
    recorder.stop()
    assert (recorder.written, recorder.waiting) == (1000, 0)
    with transaction(warehouse_settings) as connection:
        found = connection.execute(text("SELECT request_id FROM online_predictions ORDER BY ctid")).scalars().all()
    assert found == [f"request-{number}" for number in range(1000)], "in the order of their answers"


def test_what_does_not_fit_is_dropped_and_counted(warehouse_settings: Settings):
    recorder = Recorder(with_bound(warehouse_settings, 10))  # not started: nothing leaves the queue
    recorder.put(NAMES, [made(number) for number in range(7)])
    recorder.put(NAMES, [made(number) for number in range(7, 14)])
    recorder.put(NAMES, [made(14)])
    assert (recorder.waiting, recorder.dropped) == (10, 5)
    recorder.start()
    until(lambda: recorder.waiting == 0)
    recorder.put(NAMES, [made(15)])  # there is room again
    recorder.stop()
    assert [row for (row,) in rows(warehouse_settings, "request_id")] == [f"request-{n}" for n in [*range(10), 15]]
    with transaction(warehouse_settings) as connection:
        counts = connection.execute(text("SELECT recorded, dropped, batches FROM online_recorders")).one()
    assert tuple(counts) == (11, 5, 2)


def test_what_is_long_counts_for_as_many_as_its_bytes(warehouse_settings: Settings):
    """So that the memory is bounded, not only the rows."""
    recorder = Recorder(with_bound(warehouse_settings, 10))
    long = made(features=(None, None, None, "x" * 3 * record.ROW_BYTES))
    recorder.put(NAMES, [long, long])
    recorder.put(NAMES, [made(1)])
    recorder.put(NAMES, [long])
    recorder.put(NAMES, [long])
    recorder.put(NAMES, [made(2)])
    assert (recorder.waiting, recorder.dropped) == (5, 1)
    recorder.start()
    until(lambda: recorder.waiting == 0)
    recorder.put(NAMES, [long] * 3)
    recorder.stop()
    assert (recorder.written, recorder.dropped) == (8, 1)


def test_an_unexpected_failure_is_logged_and_passes(
    warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
):
    logged: list[tuple[str, int]] = []

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(record.log, "warning", lambda words, *_, **__: logged.append((words[:21], recorder.written)))
    with monkeypatch.context() as patched:
        patched.setattr(OnlinePredictions, "write", fail)
        recorder.put(NAMES, [made()])
        until(lambda: recorder.state["state"] == "away")
    until(lambda: recorder.written == 1)
    assert recorder.state == {"state": "recording"}
    assert logged == [("The warehouse does no", 0), ("The warehouse is back", 0)], "logged before it is counted"
    assert len(rows(warehouse_settings)) == 1


def test_a_record_that_cannot_be_written_as_text_is_dropped_and_costs_no_other(recorder: Recorder, caplog):
    recorder.put(NAMES, [made(features=(object(), None, True, "a"))])
    recorder.put(NAMES, [made()])
    until(lambda: recorder.written == 1)
    assert (recorder.waiting, recorder.dropped) == (0, 1)
    assert "1 predictions cannot be recorded" in caplog.text


def test_a_bound_of_none_records_nothing(warehouse_settings: Settings):
    assert Application(with_bound(warehouse_settings, 1)).recorder is not None
    assert Application(with_bound(warehouse_settings, 0)).recorder is None


def test_a_record_that_postgresql_refuses_takes_no_other_with_it(warehouse_settings: Settings, recorder: Recorder):
    records = [made(number) for number in range(100)]
    records[13] = made(13, features_week="no week")
    records[77] = made(77, row=2**31)
    for each in records:
        recorder.put(NAMES, [each])
    until(lambda: recorder.written + recorder.dropped == 100)
    assert (recorder.written, recorder.dropped, recorder.waiting) == (98, 2, 0)
    assert {row for (row,) in rows(warehouse_settings, "request_id")} == {
        f"request-{number}" for number in range(100) if number not in {13, 77}
    }


ODD = st.text(st.sampled_from("\0\x01\x02\x03\t\n\r\\\"'.,N\ud800\u2028😀a"), max_size=8) | st.sampled_from(
    [r"\.", r"\N"]
)
WORDS = ODD | st.text(st.characters(), max_size=8)
NUMBERS = st.floats() | st.booleans() | st.none() | st.integers(-(2**70), 2**70).map(float)


@pytest.fixture
def table(warehouse_settings: Settings) -> Iterator[OnlinePredictions]:
    made_table = OnlinePredictions(warehouse_settings)
    yield made_table
    made_table.close()


def as_float(value: Any) -> Any:
    """JSON in the database writes 3e16 without its exponent, and Python takes that for an integer."""
    return float(value) if type(value) is int else value


def held(value: Any) -> Any:
    """What becomes of a value on its way."""
    if isinstance(value, str):
        return value.replace("\0", NUL).encode("utf-8", "replace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def name_of(word: str) -> str:
    """A name that a feature can have: see `Signature`."""
    return re.sub(r'["\\\x00-\x1f]', "_", held(word))


@hypothesis_settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(
        st.tuples(WORDS, WORDS | st.none(), WORDS | st.none(), NUMBERS, WORDS | st.none(), st.floats(0, 1)), max_size=5
    ),
    st.lists(WORDS.map(name_of), min_size=2, max_size=2, unique=True),
)
def test_whatever_a_request_holds_is_recorded(warehouse_settings: Settings, table, values, names):
    records = [
        made(
            number, request_id=request, customer_id=customer, product_id=product, features=(*features,), satisfaction=p
        )
        for number, (request, customer, product, *features, p) in enumerate(values)
    ]
    with transaction(warehouse_settings) as connection:
        connection.execute(text("DELETE FROM online_predictions"))
    table.write([lines(names, records)], 0)
    found = rows(warehouse_settings, "request_id, customer_id, product_id, features, satisfaction")
    assert [(*ids, {name: as_float(value) for name, value in features.items()}, p) for *ids, features, p in found] == [
        (held(request), held(customer), held(product), dict(zip(names, map(held, features), strict=True)), p)
        for request, customer, product, *features, p in values
    ]


def test_one_odd_text_is_recorded_in_every_field(warehouse_settings: Settings, table):
    """Each text is alone in its batch, so that only it can cause the slow, clean way."""
    odd_texts = ["a\0b", "\0", "\ud800", "\x01", "\x02", "\x03", "\r", "\n", "\x02\x02,", r"\.", '"', "\\"]
    cases = [(place, odd) for place in ("request_id", "customer_id", "product_id", "kind") for odd in odd_texts]
    usual: dict[str, Any] = {"request_id": "r", "customer_id": "c", "product_id": None, "kind": "a"}
    for number, (place, odd) in enumerate(cases):
        fields = {**usual, place: odd}
        features = (1.5, None, True, fields.pop("kind"))
        table.write([lines(NAMES, [made(number, features=features, **fields)])], 0)
    found = rows(warehouse_settings, "request_id, customer_id, product_id, features ->> 'kind'")
    assert [dict(zip(usual, row, strict=True)) for row in found] == [{**usual, p: held(odd)} for p, odd in cases]


def test_a_refused_batch_leaves_nothing_and_is_distinguished_from_a_lost_one(warehouse_settings: Settings, table):
    with pytest.raises(psycopg.DataError):
        table.write([lines(NAMES, [made(0), made(1, features_week="x")])], 0)
    table.write([lines(NAMES, [made(0)])], 0)
    assert len(rows(warehouse_settings)) == 1


@pytest.mark.parametrize("committed", [True, False], ids=["after", "before"])
def test_a_commit_whose_outcome_is_unknown_is_looked_up(
    warehouse_settings: Settings, table, committed: bool, monkeypatch: pytest.MonkeyPatch
):
    table.write([lines(NAMES, [made(0)])], 0)
    whole = psycopg.Connection.transaction

    @contextmanager
    def lost(connection: psycopg.Connection) -> Iterator[None]:
        with whole(connection):
            yield
            if not committed:
                raise psycopg.OperationalError("the connection was lost")
        raise psycopg.OperationalError("the connection was lost")

    monkeypatch.setattr(psycopg.Connection, "transaction", lost)
    with pytest.raises(psycopg.OperationalError):
        table.write([lines(NAMES, [made(1)])], 0)
    monkeypatch.undo()
    table.write([lines(NAMES, [made(1)])], 0)
    table.write([lines(NAMES, [made(2)])], 0)
    assert [row for (row,) in rows(warehouse_settings, "request_id")] == ["request-0", "request-1", "request-2"]


def test_a_lost_transaction_that_is_still_at_work_is_waited_for(warehouse_settings: Settings, table):
    table.write([lines(NAMES, [made(0)])], 0)
    url = engine(warehouse_settings).url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as lost:  # what the server does of a batch whose client is cut off during COMMIT
        lost.execute("UPDATE online_recorders SET batches = 2")
        table.close()
        with ThreadPoolExecutor() as pool:
            again = pool.submit(table.write, [lines(NAMES, [made(1)])], 0)
            until(lambda: lost.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (1,))
            lost.commit()
            again.result(60)
    assert [row for (row,) in rows(warehouse_settings, "request_id")] == ["request-0"]


def kill_sessions(settings: Settings) -> None:
    with transaction(settings) as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_sessions_that_are_ended_again_and_again_lose_and_double_nothing(
    warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record, "PAUSE_SECONDS", 0.01)
    recorder = Recorder(warehouse_settings)
    recorder.start()
    for number in range(60):
        recorder.put(NAMES, [made(number, row=row) for row in range(50)])
        if number % 4 == 0:
            kill_sessions(warehouse_settings)
        time.sleep(0.01)
    until(lambda: recorder.waiting == 0)
    recorder.stop()
    found = rows(warehouse_settings, "request_id, row")
    assert len(found) == len(set(found)) == 3000
    assert recorder.written == 3000
    assert recorder.dropped == 0


def test_a_network_that_falls_silent_again_and_again_loses_and_doubles_nothing(
    warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """What was sent before arrives when the service has long given up, as with a real one."""
    for name, seconds in (("PAUSE_SECONDS", 0.01), ("LONGEST_PAUSE_SECONDS", 0.1)):
        monkeypatch.setattr(record, name, seconds)
    monkeypatch.setattr(online_predictions, "ANSWER_SECONDS", 0.3)
    url = engine(warehouse_settings).url.set(drivername="postgresql", database=None)
    with Wire(url.port or 5432) as wire:
        over_wire = url.set(port=wire.port).render_as_string(hide_password=False)
        database = warehouse_settings.database.model_copy(update={"url": over_wire})
        recorder = Recorder(warehouse_settings.model_copy(update={"database": database}))
        recorder.start()
        recorder.put(NAMES, [made()])
        until(lambda: recorder.written == 1)
        for number in range(1, 40):
            if number % 13 == 0:
                wire.silent.set()  # before there is something to write, which is then noticed for certain
            recorder.put(NAMES, [made(number, row=row) for row in range(50)])
            if number % 13 == 0:
                until(lambda: recorder.state["state"] == "away")
                wire.mend()
            time.sleep(0.005)
        until(lambda: recorder.waiting == 0)
        recorder.stop()
    found = rows(warehouse_settings, "request_id, row")
    assert len(found) == len(set(found)) == recorder.written == 1 + 39 * 50


def test_without_a_database_it_says_so_keeps_what_fits_and_stops_in_time(
    company, tmp_path, caplog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record, "STOP_SECONDS", 1.0)
    away = company_settings(
        company, tmp_path, DATABASE__URL="postgresql://user:hidden@127.0.0.1:1", SERVICE__RECORD_ROWS="5"
    )
    recorder = Recorder(away)
    recorder.start()
    recorder.put(NAMES, [made(number) for number in range(8)])
    until(lambda: recorder.state["state"] == "away")
    assert (recorder.waiting, recorder.dropped, recorder.written) == (5, 3, 0)
    started = time.monotonic()
    recorder.stop()
    assert time.monotonic() - started < 30
    assert "5 predictions were not recorded" in caplog.text
    assert "hidden" not in caplog.text + json.dumps(recorder.state)


def test_deleting_old_rows_uses_the_index(warehouse_settings: Settings, table):
    table.write([lines(NAMES, [made(number)]) for number in range(3000)], 0)
    with transaction(warehouse_settings) as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(
            text("EXPLAIN DELETE FROM online_predictions WHERE predicted_at < '2026-09-21 16:00:00+00'")
        ).scalars()
        assert "online_predictions_predicted_at" in "\n".join(plan)
