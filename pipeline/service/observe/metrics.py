"""Metrics for Prometheus: requests, rows and times by route and status, and the state of the parts at scrape time.

The entry point is `Metrics`.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pipeline.service.model.current import Current
from pipeline.service.predict.predictor import Predictor
from pipeline.service.record.recorder import Recorder

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class _RouteCounts:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    """Requests by the smallest of `SECONDS` that they did not exceed; the last bucket holds those above all."""
    seconds: float = 0.0
    rows: int = 0


class Metrics(Collector):
    """Counts requests on the loop's thread alone: plain numbers, since prometheus_client's cost a lock each."""

    def __init__(self, current: Current, predictor: Predictor, recorder: Recorder | None) -> None:
        self._current, self._predictor, self._recorder = current, predictor, recorder
        self.in_flight = 0
        """Requests that are being answered."""
        self._requests: Counter[tuple[str, str, int]] = Counter()
        """By method, route and status."""
        self._routes: defaultdict[str, _RouteCounts] = defaultdict(_RouteCounts)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def count(self, method: str, route: str, status: int, seconds: float, rows: int) -> None:
        """Count an answered request."""
        self._requests[method, route, status] += 1
        counts = self._routes[route]
        counts.buckets[bisect_left(SECONDS, seconds)] += 1
        counts.seconds += seconds
        counts.rows += rows

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the counts and the state of the parts."""
        requests = CounterMetricFamily("barometer_requests", "Requests answered.", labels=["method", "route", "status"])
        for (method, route, status), count in self._requests.items():
            requests.add_metric([method, route, str(status)], count)
        seconds = HistogramMetricFamily("barometer_request_seconds", "Seconds to answer.", labels=["route"])
        rows = CounterMetricFamily("barometer_rows", "Instances asked for.", labels=["route"])
        limits = [*map(str, SECONDS), "+Inf"]
        for route, counts in self._routes.items():
            seconds.add_metric([route], list(zip(limits, accumulate(counts.buckets), strict=True)), counts.seconds)
            rows.add_metric([route], counts.rows)
        yield from (requests, seconds, rows)
        yield GaugeMetricFamily("barometer_in_flight", "Requests being answered.", self.in_flight)
        readiness = self._current.readiness()
        ready = GaugeMetricFamily("barometer_ready", "1 for the state of the service.", labels=["status"])
        ready.add_metric([readiness["status"]], 1)
        model = GaugeMetricFamily("barometer_model", "1 for each version in charge.", labels=["role", "version"])
        for role in ("champion", "challenger"):
            if readiness[role]:
                model.add_metric([role, str(readiness[role])], 1)
        yield from (ready, model)
        failures = self._predictor.shadow_failures
        yield CounterMetricFamily("barometer_shadow_failures", "Batches not scored in the shadow.", failures)
        if (recorder := self._recorder) is not None:
            yield CounterMetricFamily("barometer_recorded", "Answers written.", recorder.written)
            yield CounterMetricFamily("barometer_record_dropped", "Answers not recorded.", recorder.dropped)
            yield GaugeMetricFamily("barometer_record_waiting", "Answers to be written.", recorder.waiting)
