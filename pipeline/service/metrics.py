"""What Prometheus is told: requests, rows and times by route and status, and the state of the parts at scrape time.

The entry point is `Metrics`.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pipeline.service.parts import Parts

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests."""

    def __init__(self, parts: Parts) -> None:
        self.in_flight = 0
        """Requests that are being answered."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "barometer_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "barometer_request_seconds", "Seconds to answer.", ["route"], buckets=SECONDS, registry=self._registry
        )
        self._rows = Counter("barometer_rows", "Instances asked for.", ["route"], registry=self._registry)
        self._of: dict[tuple[str, str, int], tuple[Counter, Histogram, Counter]] = {}
        self._registry.register(_State(self, parts))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def count(self, method: str, route: str, status: int, seconds: float, rows: int) -> None:
        """Count an answered request."""
        counters = self._of.get((method, route, status))
        if counters is None:  # labels() takes several times as long as looking up
            counters = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(route),
                self._rows.labels(route),
            )
            self._of[method, route, status] = counters
        requests, histogram, counted_rows = counters
        requests.inc()
        histogram.observe(seconds)
        if rows:
            counted_rows.inc(rows)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _State(Collector):
    """The parts' own numbers, read when somebody asks."""

    def __init__(self, metrics: Metrics, parts: Parts) -> None:
        self._metrics = metrics
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Yield the state of the parts."""
        parts = self._parts
        yield GaugeMetricFamily("barometer_in_flight", "Requests being answered.", self._metrics.in_flight)
        readiness = parts.current.readiness()
        ready = GaugeMetricFamily("barometer_ready", "1 for the state of the service.", labels=["status"])
        ready.add_metric([readiness["status"]], 1)
        yield ready
        model = GaugeMetricFamily("barometer_model", "1 for each version in charge.", labels=["role", "version"])
        for role in ("champion", "challenger"):
            if readiness.get(role):
                model.add_metric([role, str(readiness[role])], 1)
        yield model
        yield CounterMetricFamily(
            "barometer_shadow_failures", "Batches not scored in the shadow.", parts.predictor.shadow_failures
        )
        if parts.recorder is not None:
            yield CounterMetricFamily("barometer_recorded", "Answers written.", parts.recorder.written)
            yield CounterMetricFamily("barometer_record_dropped", "Answers not recorded.", parts.recorder.dropped)
            yield GaugeMetricFamily("barometer_record_waiting", "Answers to be written.", parts.recorder.waiting)
