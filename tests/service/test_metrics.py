"""What Prometheus reads of the requests: counts, rows and times by route, as its own parser takes them."""

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.raw import HEALTH, ask, instances, predict, request
from tests.service.server import Server
from tests.waiting import until

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def found(serve: Callable[..., Server]) -> Samples:
    """The samples of a service that answered four predictions of six rows, a bad one, a stranger's and a look."""
    port = serve().port
    asked = [predict(instances(rows)) for rows in (1, 1, 1, 3)] + [predict(b"{"), request("GET", "/nothing"), HEALTH]
    assert [ask(port, given).status for given in asked] == [200] * 4 + [400, 404, 200]

    def read() -> Samples:
        families = text_string_to_metric_families(ask(port, request("GET", "/metrics")).body.decode())
        return {
            (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    until(lambda: ("barometer_requests_total", ("GET", "/healthz", "200")) in read())  # counted within a moment
    return read()


def test_requests_and_rows_are_counted(found):
    counted = {labels: value for (name, labels), value in found.items() if name == "barometer_requests_total"}
    del counted["GET", "/metrics", "200"]
    assert counted == {
        ("POST", "/predict", "200"): 4,
        ("POST", "/predict", "400"): 1,
        ("GET", "unknown", "404"): 1,
        ("GET", "/healthz", "200"): 1,
    }
    assert found["barometer_rows_total", ("/predict",)] == 6
    assert found["barometer_rows_total", ("/healthz",)] == 0


def test_times_are_a_histogram(found):
    buckets = {
        labels[0]: value
        for (name, labels), value in found.items()
        if name.endswith("seconds_bucket") and labels[1] == "/predict"
    }
    assert float("inf") == max(map(float, buckets))
    counts = [buckets[limit] for limit in sorted(buckets, key=float)]
    assert counts == sorted(counts), "each holds those below"
    assert counts[-1] == found["barometer_request_seconds_count", ("/predict",)] == 5
    seconds = found["barometer_request_seconds_sum", ("/predict",)]
    assert seconds > 0
    longest = min(float(limit) for limit, count in buckets.items() if count == 5)
    assert seconds <= 5 * longest
