"""The application: its parts, built once in the order of their dependencies, and the routes of its contract.

The entry point is `Application`, which `pipeline.service.process` runs.
"""

from functools import lru_cache
from threading import Event, Thread

import msgspec

from pipeline.batch_jobs.places import sweep_hourly
from pipeline.errors import ConfigError, RequestError
from pipeline.orchestration.file_jobs import FileJobs
from pipeline.service.access.admission import Keyring
from pipeline.service.batch import routes as batch
from pipeline.service.batch.jobs import PATH
from pipeline.service.calls import Route
from pipeline.service.contracts import azure, barometer, mlflow, open_inference, sagemaker, vertex
from pipeline.service.contracts.standard import Standard
from pipeline.service.model.current import Current
from pipeline.service.observe import health
from pipeline.service.observe.logs import RequestLog
from pipeline.service.observe.metrics import Metrics
from pipeline.service.openapi import document
from pipeline.service.pages import docs, page, site
from pipeline.service.predict.predictor import Predictor
from pipeline.service.published.lookup import Lookup
from pipeline.service.record.recorder import Recorder
from pipeline.service.server.front import Front
from pipeline.settings import Settings
from pipeline.settings.service import LOOPBACK

SWEEP_STOP_SECONDS = 5
"""A sweep that is under way may take this long to finish."""
CLOUDS = {"sagemaker": sagemaker.routes, "vertex": vertex.routes, "azure": azure.routes}


class Application:
    """The running service; `front` is the ASGI application.

    Raises ConfigError if others can reach the service and `service.auth` does not say who authenticates.
    """

    def __init__(self, settings: Settings) -> None:
        service = settings.service
        if service.host not in LOOPBACK and service.auth is None:
            found = f"service.host is {service.host}, which others can reach, and service.auth is not set."
            expected = 'auth = "keys" (barometer keys create), or "platform" where a gateway in front authenticates.'
            raise ConfigError(found, expected, "choose one in pipeline.toml, or listen on 127.0.0.1.")
        has_warehouse = service.model_folder is None
        self.settings = settings
        self.current = Current(settings)
        self.recorder = Recorder(settings) if has_warehouse and service.record_rows else None
        self.predictor = Predictor(self.recorder, service.contract)
        self.lookup = Lookup(settings) if has_warehouse else None
        self.jobs = FileJobs(settings) if has_warehouse and service.contract == "barometer" else None
        self.keyring = Keyring(settings.path(service.keys_file)) if service.auth == "keys" else None
        self._stopping = Event()
        self._sweeping = Thread(target=sweep_hourly, args=(settings, self._stopping), name="sweeping", daemon=True)
        metrics = Metrics(self.current, self.predictor, self.recorder)
        self._request_log = RequestLog(metrics)
        self._document = lru_cache(maxsize=1)(lambda of: msgspec.json.encode(document(self.routes, of, settings)))
        self.routes: list[Route] = [
            *self._contract_routes(),
            *health.routes(self.current, self.recorder, self.keyring, metrics, self.document),
            *docs.routes(settings, self.document),
        ]
        files_path = PATH if self.jobs else None
        self.front = Front(self.routes, service, self.keyring, metrics, self._request_log, files_path=files_path)

    def start(self) -> None:
        """Load the model in charge, or learn why there is none, and begin to record."""
        self.current.start()
        if self.recorder is not None:
            self.recorder.start()
        if self.settings.service.model_folder is None:
            self._sweeping.start()

    def stop(self) -> None:
        """Write what waits to be recorded, within a bound, and end the threads."""
        self._request_log.flush()
        if self.recorder is not None:  # first, since it alone has something to lose
            self.recorder.stop()
        if self.lookup is not None:
            self.lookup.close()
        if self.jobs is not None:
            self.jobs.close()
        self.current.stop()
        self._stopping.set()
        if self._sweeping.is_alive():
            self._sweeping.join(SWEEP_STOP_SECONDS)

    def document(self) -> bytes:
        """Return the OpenAPI document of these routes for the model in charge as JSON, made once for each model."""
        try:
            return self._document(self.current.serving.signature)
        except RequestError:
            return self._document(None)  # there is no model yet

    def _contract_routes(self) -> list[Route]:
        settings, service = self.settings, self.settings.service
        standard = Standard(self.current, self.predictor, service, service.rows)
        if cloud := CLOUDS.get(service.contract):
            return cloud(standard)
        has_keys = self.keyring is not None
        return [
            *barometer.routes(standard, self.lookup),
            *batch.routes(settings, self.jobs, everybody=not has_keys),
            *page.Page(settings, self.current, self.predictor, self.lookup, has_keys).routes(),
            *site.routes(settings),
            *mlflow.routes(standard),
            *open_inference.routes(standard),
        ]
