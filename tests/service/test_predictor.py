"""Batching: requests that wait at the same time share a call of the model, and each gets its own answer."""

import asyncio
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from pipeline.errors import ModelError, RequestError
from pipeline.models.bundle import open_bundle
from pipeline.models.scoring.scorer import Scorer
from pipeline.service.calls import Call
from pipeline.service.instances.signature import Instances
from pipeline.service.model.serving import Loaded, Scores, Serving
from pipeline.service.predict import predictor as predictor_module
from pipeline.service.predict.predictor import SMALL_ROWS, Predictor
from pipeline.settings.model import Routing
from tests.service.calls import call_of
from tests.service.versions import record_batch
from tests.tiny_model import tiny_bundle

ROWS = [(float(n), n * 2.5, bool(n % 2), "abcz"[n % 4] if n % 7 else None) for n in range(200)]


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.records = []

    def put(self, _names, records) -> None:
        self.records += records


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> Loaded:
    folder = tmp_path_factory.mktemp("model") / "bundle"
    digest = tiny_bundle(folder)
    return Loaded("1", Scorer.load(folder, digest, threshold=0.5), open_bundle(folder, digest), digest, None)


@pytest.fixture
def serving(loaded: Loaded) -> Serving:
    return Serving("satisfaction", loaded, None, Routing(), datetime.now(UTC))


def numbers(loaded: Loaded, rows: list[tuple]) -> list[float]:
    return loaded.scorer.score(record_batch(rows, loaded.scorer.features)).column("satisfaction").to_pylist()


def call(name: str = "a request") -> Call:
    made = call_of()
    made.request_id = name
    return made


def instances(rows: list[tuple]) -> Instances:
    return Instances(list(rows), [(None, None)] * len(rows))


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_arguments) -> None:
        raise error

    return fail


def asked_at_once(predictor: Predictor, serving: Serving, requests: list[list[tuple]]) -> list:
    async def all_of_them():
        predictions = [predictor.predict(call(f"r{n}"), serving, instances(rows)) for n, rows in enumerate(requests)]
        return await asyncio.gather(*predictions, return_exceptions=True)

    return asyncio.run(all_of_them())


def test_requests_share_a_call_of_the_model_and_each_gets_its_own(serving, loaded, monkeypatch):
    calls = []
    satisfaction = Scorer.satisfaction
    monkeypatch.setattr(Scorer, "satisfaction", lambda self, rows: calls.append(1) or satisfaction(self, rows))
    requests = [ROWS[n : n + n % 5] for n in range(100)] + [ROWS[:150]]
    answers = asked_at_once(Predictor(None, "barometer"), serving, requests)
    assert len(calls) == 2, "one for all small requests, one for the large one"
    for rows, answer in zip(requests, answers, strict=True):
        assert [prediction.satisfaction for prediction in answer] == (numbers(loaded, rows) if rows else [])


@pytest.mark.parametrize("rows", [1, SMALL_ROWS + 1])
def test_a_failure_reaches_everybody_and_the_next_is_answered(rows, serving, monkeypatch):
    predictor = Predictor(None, "barometer")
    failure = ModelError("It fails.", "that it does not.", "wait.")
    for error in (failure, ZeroDivisionError("a bug")):
        with monkeypatch.context() as patched:
            patched.setattr(Serving, "score", failing(error))
            answers = asked_at_once(predictor, serving, [ROWS[:rows]] * 5)
        assert answers == [error] * 5
        assert len(asked_at_once(predictor, serving, [ROWS[:rows]])[0]) == rows


@pytest.mark.parametrize("rows", [1, SMALL_ROWS + 1])
def test_nobody_is_left_waiting_by_a_number_that_no_words_are_for(rows, serving, monkeypatch):
    def no_number(_, values, _customers):
        return Scores({}, [math.nan] * len(values), [False] * len(values))

    monkeypatch.setattr(Serving, "score", no_number)

    async def asked():
        predictor = Predictor(None, "barometer")
        predictions = [predictor.predict(call(), serving, instances(ROWS[:rows])) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*predictions, return_exceptions=True), 20)

    assert [type(answer) for answer in asyncio.run(asked())] == [ValueError] * 3


def test_who_gave_up_does_not_take_the_others_answers_away(serving, loaded):
    predictor = Predictor(None, "barometer")

    async def one_gives_up():
        tasks = [asyncio.create_task(predictor.predict(call(), serving, instances(ROWS[n : n + 1]))) for n in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(one_gives_up())
    assert isinstance(answers.pop(1), asyncio.CancelledError)
    assert [answer[0].satisfaction for answer in answers] == numbers(loaded, [ROWS[0], ROWS[2], ROWS[3]])


def test_the_record_has_every_good_row_with_its_place_in_the_request(serving, loaded):
    sink = Sink()
    bad = RequestError(422, "It is bad.", "a good one.", "mend it.")
    some = Instances(ROWS[:3], [("c", "p"), (None, None), ("d", "p")], weeks={2: "2026-03-02"}, bad={1: bad})
    asyncio.run(Predictor(sink, "azure").predict(call("id"), serving, some))
    expected = numbers(loaded, ROWS[:3])
    for record, row, at in zip(sink.records, (0, 2, 3), range(3), strict=True):
        assert abs(record.predicted_at - datetime.now(UTC).timestamp()) < 60
        assert (record.request_id, record.row, record.features) == ("id", row, ROWS[at])
        assert (record.customer_id, record.product_id) == some.keys[at]
        assert record.features_week == some.weeks.get(at)
        assert (record.satisfaction, record.likely_satisfied) == (expected[at], expected[at] >= 0.5)
        assert (record.role, record.model_version, record.contract, record.served) == ("champion", "1", "azure", True)


def test_in_the_shadow_the_challenger_is_recorded_and_nobody_is_served_it(loaded):
    sink = Sink()
    serving = in_shadow(loaded)
    predictor = Predictor(sink, "barometer")

    answer = with_its_shadow(predictor, serving, ROWS[:2])
    assert {prediction.model_version for prediction in answer} == {"1"}
    found = [(record.role, record.model_version, record.served) for record in sink.records]
    assert found == [("champion", "1", True)] * 2 + [("challenger", "2", False)] * 2


@pytest.mark.parametrize("rows", [1, SMALL_ROWS + 1])
@pytest.mark.parametrize("error", [ModelError("It fails.", "none.", "mend it."), RuntimeError("bug")])
def test_a_challenger_that_fails_in_the_shadow_hurts_nobody(loaded, monkeypatch, rows, error):
    serving = in_shadow(loaded)
    predictor = Predictor(Sink(), "barometer")

    monkeypatch.setattr(Serving, "shadow", failing(error))
    assert len(with_its_shadow(predictor, serving, ROWS[:rows])) == rows
    assert predictor.shadow_failures == 1


def test_nobody_waits_for_the_shadow_and_what_it_cannot_keep_up_with_is_left_out(loaded, monkeypatch):
    sink, serving, may_go_on = Sink(), in_shadow(loaded), threading.Event()
    shadow, at_once = Serving.shadow, []

    def slow(*arguments):
        at_once.append(threading.current_thread())
        assert may_go_on.wait(60)
        return shadow(*arguments)

    monkeypatch.setattr(Serving, "shadow", slow)
    monkeypatch.setattr(predictor_module, "MOST_IN_SHADOW", 250)
    predictor = Predictor(sink, "barometer")

    async def many():
        answers = [await predictor.predict(call(), serving, instances(ROWS[:100])) for _ in range(4)]
        assert len(at_once) <= 1, "it takes no more than one of the threads that requests need"
        may_go_on.set()
        while predictor.in_shadow:
            await asyncio.sleep(0.01)
        return answers

    assert [len(answer) for answer in asyncio.run(many())] == [100] * 4
    assert [record.served for record in sink.records].count(False) == 200
    assert predictor.shadow_failures == 2


@pytest.mark.parametrize("rows", [1, SMALL_ROWS + 1])
def test_who_was_not_answered_is_not_recorded(loaded, serving, monkeypatch, rows):
    sink, scored, may_go_on = Sink(), threading.Event(), threading.Event()
    score = Serving.score

    def slow(*arguments):
        found = score(*arguments)
        if len(arguments[1]) > SMALL_ROWS:
            scored.set()
            assert may_go_on.wait(60)
        return found

    monkeypatch.setattr(Serving, "score", slow)
    predictor = Predictor(sink, "barometer")

    async def one_gives_up():
        task = asyncio.create_task(predictor.predict(call("gone"), serving, instances(ROWS[:rows])))
        other = asyncio.create_task(predictor.predict(call("here"), serving, instances(ROWS[:2])))
        await asyncio.to_thread(scored.wait, 60) if rows > SMALL_ROWS else await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        may_go_on.set()
        return await asyncio.gather(task, other, return_exceptions=True)

    gone, answered = asyncio.run(one_gives_up())
    assert isinstance(gone, asyncio.CancelledError)
    assert [(record.request_id, record.row, record.satisfaction) for record in sink.records] == [
        ("here", row, prediction.satisfaction) for row, prediction in enumerate(answered)
    ]


@pytest.mark.parametrize("rows", [1, SMALL_ROWS + 1])
def test_a_fault_of_the_record_costs_no_answer(loaded, serving, monkeypatch, rows, caplog):
    sink = Sink()
    monkeypatch.setattr(sink, "put", failing(RuntimeError("a bug")))
    some = [ROWS[at % len(ROWS)] for at in range(rows)]
    answers = asyncio.run(Predictor(sink, "barometer").predict(call(), serving, instances(some)))
    assert [answer.satisfaction for answer in answers] == numbers(loaded, some)
    assert "cannot be recorded" in caplog.text


def with_its_shadow(predictor: Predictor, serving: Serving, rows: list[tuple]) -> list:
    """The answer, after the challenger has scored the rows as well."""

    async def and_its_shadow():
        answer = await predictor.predict(call(), serving, instances(rows))
        while predictor.in_shadow:
            await asyncio.sleep(0.01)
        return answer

    return asyncio.run(and_its_shadow())


def in_shadow(loaded: Loaded) -> Serving:
    """The model, and itself as its challenger in the shadow."""
    shadow = Loaded("2", loaded.scorer, loaded.bundle, loaded.digest, None)
    return Serving("satisfaction", loaded, shadow, Routing(mode="shadow"), datetime.now(UTC))
