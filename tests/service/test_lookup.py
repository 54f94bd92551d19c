"""Looking up what was published: the prediction with its lineage, the snapshot's features, or why there are none."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import httpx
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from pipeline.errors import RequestError
from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.point_in_time.subject_hash import hash_of_key, shard_of
from pipeline.service.published import lookup
from pipeline.service.published.lookup import FeatureQuery, Lookup, PublishedPrediction
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.warehouse import bounded, engine, transaction
from pipeline.weeks import Week
from tests.company import company_settings, own_database
from tests.handmade import WEEK, feature_row, make_snapshot
from tests.published import publish_week
from tests.service.proxy import Wire
from tests.service.raw import Connection, request
from tests.service.server import Server, running
from tests.waiting import until

FACTS = {"code_version": "1.2.3", "config_digest": "c" * 64, "bundle_digest": "b" * 64}
NAMES = ["kind", "amount", "is_busy"]
ODD_SUBJECT = ("ü/ b%2F?#\x1f'\n😀", "..")
KEPT_OUT = ("c0001", "p1")
LATER = WEEK.plus(1)
DUCK = duckdb.connect()


@pytest.fixture(scope="module")
def weeks(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    """Two published weeks, the later one with a snapshot of the company's data. No test changes them."""
    home = tmp_path_factory.mktemp("looked up") / "a home"
    settings = company_settings(company, home, **own_database(server_url))
    publish_week(settings, WEEK, [("c0000", "p0", 0.1, None), ("gone", "p9", 0.4, None)])
    manifest = build_snapshot(settings, LATER, read_sources(settings, LATER), settings.home / "snapshots" / str(LATER))
    publish_week(
        settings,
        LATER,
        [("c0000", "p0", 0.75, '{"info_name": "Zoë"}'), ("c0003", "p0", 0.25, None), (*ODD_SUBJECT, 0.5, None)],
        quarantined={KEPT_OUT: ["amount is between 0 and 10000", "kind is known"]},
        snapshot_manifest=str(manifest),
        snapshot_digest=SnapshotManifest.read(manifest).digest,
        model_version="7",
    )
    return settings


@pytest.fixture
def opened() -> Iterator[Callable[[Settings], Lookup]]:
    """Opens lookups, which are closed after the test."""
    with ExitStack() as stack:
        yield lambda settings: stack.enter_context(closing(Lookup(settings)))


@pytest.fixture
def looked_up(weeks: Settings, opened: Callable[[Settings], Lookup]) -> Lookup:
    return opened(weeks)


def features(lookup: Lookup, customer_id: str, product_id: str, names: list[str]) -> Any:
    """The week and the features of one subject."""
    (found,) = lookup.features([FeatureQuery(customer_id, product_id, tuple(names))])
    if isinstance(found, RequestError):
        raise found
    return found


def run_of(settings: Settings, week: Week) -> Any:
    query = text("SELECT * FROM prediction_runs WHERE run_id = (SELECT run_id FROM published_weeks WHERE week = :week)")
    with transaction(settings) as connected:
        return connected.execute(query, {"week": week.monday}).one()


def test_a_prediction_comes_with_its_lineage(looked_up: Lookup, weeks: Settings):
    run = run_of(weeks, LATER)
    found = looked_up.prediction("c0000", "p0")
    assert msgspec.to_builtins(found) == {
        "customer_id": "c0000",
        "product_id": "p0",
        "week": str(LATER),
        "satisfaction": 0.75,
        "likely_satisfied": True,
        "role": "champion",
        "model_version": "7",
        "trained_after_cutoff": False,
        "info": {"info_name": "Zoë"},
        "run_id": f"{LATER}.1",
        "published_at": run.published_at.isoformat().replace("+00:00", "Z"),
        "snapshot_digest": run.snapshot_digest,
        **FACTS,
    }


def test_a_challengers_prediction_names_the_challengers_files(warehouse_settings: Settings, opened):
    publish_week(warehouse_settings, WEEK, [("c", "p", 0.5, None)], routing={"challenger": {"bundle_digest": "e" * 64}})
    with transaction(warehouse_settings) as connected:
        connected.execute(text("UPDATE storage.predictions SET role = 'challenger'"))
    found = opened(warehouse_settings).prediction("c", "p")
    assert found is not None
    assert (found.role, found.bundle_digest) == ("challenger", "e" * 64)


def test_ids_may_hold_anything(looked_up: Lookup):
    found = looked_up.prediction(*ODD_SUBJECT)
    assert found is not None
    assert found.satisfaction == 0.5
    for strange in ("", "c0000\0", "\ud800", "c" * 100_000, "'; SELECT", "%", "C0000"):
        assert looked_up.prediction(strange, "p0") is None
        assert looked_up.prediction("c0000", strange) is None
        assert features(looked_up, strange, strange, NAMES) is None
        assert looked_up.usual(strange) is None


def test_of_who_is_not_in_the_latest_week_there_is_nothing(looked_up: Lookup, warehouse_settings: Settings, opened):
    assert (looked_up.prediction("gone", "p9"), features(looked_up, "gone", "p9", NAMES)) == (None, None)
    empty = opened(warehouse_settings)  # nothing was ever published
    assert (empty.prediction("c", "p"), features(empty, "c", "p", NAMES), empty.usual("p")) == (None, None, None)


def test_a_subject_that_was_kept_out_gets_the_reasons(looked_up: Lookup):
    with pytest.raises(RequestError, match="kept out of the week 2026-03-09: amount is between") as refused:
        looked_up.prediction(*KEPT_OUT)
    assert refused.value.status == 404
    with pytest.raises(RequestError, match="kept out of the week") as refused:
        features(looked_up, *KEPT_OUT, NAMES)
    assert refused.value.status == 422


def test_a_products_usual_is_that_of_its_latest_week(looked_up: Lookup):
    assert looked_up.usual("p0") == 0.5  # of 0.75 and 0.25
    assert looked_up.usual("p9") == 0.4  # a week earlier
    assert looked_up.usual("p1") is None  # all of it was kept out


def test_features_are_those_of_the_snapshot(looked_up: Lookup, weeks: Settings):
    folder = Path(run_of(weeks, LATER).snapshot_manifest).parent
    shards = sorted(folder.glob("shard-*.parquet"))
    assert len(shards) > 1
    for file in shards:
        for row in pq.read_table(file).to_pylist():
            subject = (row["customer_id"], row["product_id"])
            if subject != KEPT_OUT:
                assert features(looked_up, *subject, NAMES) == (
                    str(LATER),
                    (row["kind"], row["amount"], row["is_busy"]),
                )


def test_many_are_looked_up_by_one_query_each_with_its_own_answer(looked_up: Lookup, weeks: Settings):
    folder = Path(run_of(weeks, LATER).snapshot_manifest).parent
    rows = [row for file in sorted(folder.glob("shard-*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert len({(row["kind"], row["amount"]) for row in rows}) > 3
    wanted = [FeatureQuery(row["customer_id"], row["product_id"], ("amount", "kind")) for row in rows]
    nobody = [FeatureQuery(strange, "p", ("amount",)) for strange in ("nobody", "\0", "\ud800")]
    others = [*nobody, FeatureQuery("c0000", "p0", ("nonsense",))]
    asked: list[str] = []
    event.listen(looked_up.engine, "before_cursor_execute", lambda *about: asked.append(about[2]))
    found = looked_up.features([*others, *wanted])
    assert len(asked) == 1
    assert found[:3] == [None, None, None]
    assert isinstance(found[3], RequestError)
    assert "does not have the model's feature 'nonsense'" in found[3].found
    for row, one, of in zip(rows, wanted, found[4:], strict=True):
        if one[:2] == KEPT_OUT:
            assert isinstance(of, RequestError)
            assert "kept out" in of.found
        else:
            assert of == (str(LATER), (row["amount"], row["kind"]))


def test_a_feature_that_the_snapshot_does_not_have_is_asked_for(looked_up: Lookup):
    for name in ("nonsense", "info_name", "customer_id"):
        with pytest.raises(RequestError, match=f"does not have the model's feature '{name}'") as refused:
            features(looked_up, "c0000", "p0", ["amount", name])
        assert (refused.value.status, refused.value.field) == (422, name)


@pytest.fixture
def published(
    warehouse_settings: Settings, opened
) -> Callable[[pa.Table | list[dict[str, object]]], tuple[Lookup, Path]]:
    """Publishes a week with one shard of the given rows, and returns its lookup and that shard's file."""

    def publish(rows: pa.Table | list[dict[str, object]]) -> tuple[Lookup, Path]:
        snapshot = make_snapshot(warehouse_settings.home / "snapshots" / "made", [rows])  # type: ignore[list-item]
        digest = {"snapshot_manifest": str(snapshot.manifest), "snapshot_digest": snapshot.digest}
        publish_week(warehouse_settings, WEEK, [("x", "p0", 0.5, None)], **digest)
        return opened(warehouse_settings), snapshot.manifest.parent / "shard-0000.parquet"

    return publish


def test_missing_and_infinite_values_are_missing(published):
    rows = [
        feature_row("a", amount=math.inf, row=None, kind=None),
        feature_row("b", amount=-math.inf, row=math.nan, kind="__missing__"),
    ]
    looked_up, _ = published(rows)
    assert features(looked_up, "a", "p0", ["kind", "row", "amount"]) == (str(WEEK), (None, None, None))
    assert features(looked_up, "b", "p0", ["kind", "row", "amount"]) == (str(WEEK), ("__missing__", None, None))


def test_every_row_of_several_row_groups_is_found(published):
    many = 150_000
    customers = sorted(f"c{number % 50_000:05d}" for number in range(many))
    table = pa.table(
        {
            "customer_id": customers,
            "product_id": [f"p{number % 3}" for number in range(many)],
            "amount": pa.array(range(many), pa.float32()),
            "row": pa.array(range(many), pa.float32()),
            "kind": [f"kind {number % 7}" for number in range(many)],
            "info_name": pa.nulls(many, pa.string()),
        }
    )
    from pipeline.point_in_time.shards import GROUP_ROWS

    whole = pq.write_table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pq, "write_table", lambda t, file: whole(t, file, row_group_size=GROUP_ROWS))
        looked_up, file = published(table)
    assert pq.read_metadata(file).num_row_groups == 3
    for number in (0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, many - 1):
        values = (f"kind {number % 7}", float(number))
        assert features(looked_up, customers[number], f"p{number % 3}", ["kind", "amount"]) == (str(WEEK), values)


def test_a_snapshot_that_was_changed_is_refused_from_then_on(published, caplog):
    rows = [feature_row(f"c{number}") for number in range(10)]
    looked_up, file = published(rows)
    assert features(looked_up, "c3", "p0", ["amount"]) == (str(WEEK), (1.0,))
    content = file.read_bytes()
    changed = pq.read_table(file)
    pq.write_table(changed.set_column(2, "amount", pa.array([2.0] * 10, pa.float32())), file)
    assert file.stat().st_size == len(content)  # each piece of it lies where it lay
    for _ in range(2):
        with pytest.raises(RequestError, match="not as the run wrote them") as refused:
            features(looked_up, "c3", "p0", ["amount"])
        assert refused.value.status == 503
        assert str(file) not in str(refused.value)
    assert str(file) in caplog.text
    file.write_bytes(content)
    assert features(looked_up, "c3", "p0", ["amount"]) == (str(WEEK), (1.0,))
    file.unlink()
    with pytest.raises(RequestError, match="not as the run wrote them"):
        features(looked_up, "c3", "p0", ["amount"])


def test_a_manifest_of_another_run_is_refused(warehouse_settings: Settings, published):
    looked_up, _ = published([feature_row("c3")])
    with transaction(warehouse_settings) as connected:
        connected.execute(text("UPDATE prediction_runs SET snapshot_digest = repeat('0', 64)"))
    with pytest.raises(RequestError, match="not as the run wrote them"):
        features(looked_up, "c3", "p0", ["amount"])


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=50), st.integers(1, 5000))
def test_the_shard_is_that_of_duckdbs_hash(keys: list[tuple[str, str]], shards: int):
    subjects = pa.table({"customer_id": [key[0] for key in keys], "product_id": [key[1] for key in keys]})
    found = DUCK.from_arrow(subjects).project(f"{hash_of_key()} % {shards}").fetchall()
    assert [shard for (shard,) in found] == [shard_of(*key, shards) for key in keys]


def test_a_lookup_is_one_query_on_an_open_connection(weeks: Settings, wire: Wire, opened):
    """Which is a matter of milliseconds."""
    over_wire = opened(through(weeks, wire))
    over_wire.prediction("c0000", "p0")
    connections, asked = wire.connections, []
    event.listen(over_wire.engine, "before_cursor_execute", lambda *about: asked.append(about[2]))
    for _ in range(50):
        over_wire.prediction("c0000", "p0")
    assert len(asked) == 50
    assert wire.connections == connections


def test_it_can_only_read(looked_up: Lookup):
    assert looked_up.usual("p0") is not None
    with pytest.raises(Exception, match="cannot execute DELETE in a read-only transaction"):
        looked_up.rows(text("DELETE FROM published_weeks"))


def percent_encoded(subject: tuple[str, str]) -> str:
    return "/predictions/" + "/".join(quote(part, safe="") for part in subject)


def test_the_route_answers_or_says_what_is_wrong(looked_up: Lookup, weeks: Settings):
    with running(weeks) as server, httpx.Client(base_url=server.url) as client:
        answered = client.get("/predictions/c0000/p0")
        assert (answered.status_code, answered.headers["content-type"]) == (200, "application/json")
        assert answered.json() == msgspec.to_builtins(looked_up.prediction("c0000", "p0"))
        assert tuple(answered.json()) == PublishedPrediction.__struct_fields__
        with Connection(server.port) as connection:  # a client library would take ".." for the folder above
            connection.send(request("GET", percent_encoded(ODD_SUBJECT).replace("..", "%2E%2E")))
            assert json.loads(connection.reply().body)["customer_id"] == ODD_SUBJECT[0]
        for unknown in (("c0000", "p1"), ("", " "), ("\0", "p0"), ("c" * 5000, "p0"), ("c0000/p0", "p0")):
            refused = client.get(percent_encoded(unknown))
            assert refused.status_code == 404
            assert refused.headers["content-type"] == "application/problem+json"
        assert client.get("/predictions/%FF%FE/p0").status_code == 404
        kept_out = client.get(percent_encoded(KEPT_OUT)).json()
        assert (
            "was kept out of the week 2026-03-09: amount is between 0 and 10000, kind is known." in kept_out["detail"]
        )
        assert client.head("/predictions/c0000/p0").status_code == 200
        assert client.post("/predictions/c0000/p0").status_code == 405


def test_the_service_closes_its_connections_when_it_stops(weeks: Settings):
    with running(weeks) as server:
        assert httpx.get(f"{server.url}/predictions/c0000/p0").status_code == 200
        assert server.application.lookup is not None
        pool = server.application.lookup.engine.pool
        assert pool.checkedin() == 1
    assert pool.checkedin() == 0


def test_without_a_warehouse_the_route_says_that_there_is_none(serve: Callable[..., Server]):
    refused = httpx.get(f"{serve().url}/predictions/c/p")
    assert (refused.status_code, refused.json()["status"]) == (501, 501)
    assert "without a warehouse" in refused.json()["detail"]


def through(settings: Settings, wire: Wire) -> Settings:
    """The same warehouse, over a wire."""
    url = engine(settings).url.set(drivername="postgresql", port=wire.port, database=None)
    database = settings.database.model_copy(update={"url": url.render_as_string(hide_password=False)})
    return settings.model_copy(update={"database": database})


def test_while_the_warehouse_is_away_it_says_so_and_then_goes_on(weeks: Settings, wire: Wire, opened):
    over_wire = opened(through(weeks, wire))
    assert over_wire.usual("p0") == 0.5
    wire.cut()
    for _ in range(2):
        with pytest.raises(RequestError) as refused:
            over_wire.prediction("c0000", "p0")
        assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "5"})
    wire.mend()
    assert over_wire.usual("p0") == 0.5
    wire.cut()
    wire.mend()
    assert over_wire.usual("p0") == 0.5, "a connection that was lost between two queries is noticed first"


def test_a_warehouse_that_says_nothing_is_not_waited_for(
    weeks: Settings, wire: Wire, opened, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lookup, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(bounded, "CONNECT_SECONDS", 2)
    over_wire = opened(through(weeks, wire))
    until(lambda: usual_or_none(over_wire) == 0.5)
    wire.silent.set()
    started = time.monotonic()
    with pytest.raises(RequestError, match="does not answer"):
        over_wire.usual("p0")
    assert time.monotonic() - started < 60
    wire.mend()
    until(lambda: usual_or_none(over_wire) == 0.5)


def usual_or_none(over_wire: Lookup) -> float | None:
    """The product's usual, or None when a busy machine does not answer in the little time there is."""
    with suppress(RequestError):
        return over_wire.usual("p0")
    return None


def test_without_a_server_it_says_so(company: Path, tmp_path: Path, opened):
    away = company_settings(company, tmp_path, DATABASE__URL="postgresql://user:hidden@127.0.0.1:1")
    with pytest.raises(RequestError, match="The warehouse does not answer") as refused:
        opened(away).usual("p")
    assert refused.value.status == 503
