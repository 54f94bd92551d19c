"""The application: the parts made from the settings, and the routes of the configured contract.

The entry point is `Application`, which `pipeline.service.server.process` runs.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import ConfigError, RequestError
from pipeline.service.access.keys import Keyring
from pipeline.service.batch import routes as batch
from pipeline.service.batch.sweeping import Sweeping
from pipeline.service.contracts import azure, open_inference, sagemaker, vertex
from pipeline.service.contracts import barometer as own
from pipeline.service.contracts import mlflow as mlflow_protocol
from pipeline.service.instances.signature import Signature
from pipeline.service.latest import Latest
from pipeline.service.model.current import Current
from pipeline.service.observe import health as about
from pipeline.service.observe.logs import Teller
from pipeline.service.observe.metrics import Metrics
from pipeline.service.openapi import document
from pipeline.service.pages import docs as docs_page
from pipeline.service.pages import page, site
from pipeline.service.parts import Parts
from pipeline.service.predict.predictor import Predictor
from pipeline.service.published import lookup
from pipeline.service.published.lookup import Lookup
from pipeline.service.record.recorder import Recorder
from pipeline.service.server.calls import Route
from pipeline.service.server.front import Front
from pipeline.service.server.router import Router
from pipeline.settings import Settings
from pipeline.settings.service import LOOPBACK

OF_CONTRACT = {
    "barometer": (own, lookup, batch, page, site, mlflow_protocol, open_inference),
    "sagemaker": (sagemaker,),
    "vertex": (vertex,),
    "azure": (azure,),
}
"""Whose routes each contract has, beside those of `about` and `docs_page`."""


class Application:
    """The running service; `front` is the ASGI application.

    Raises
    ------
    ConfigError
        If it is to be reached from elsewhere and nobody is said to authenticate.
    """

    def __init__(self, settings: Settings) -> None:
        self.parts = _parts(settings)
        metrics = Metrics(self.parts)
        self._teller = Teller(metrics)
        self._document: Latest[Signature | None, Mapping[str, Any]] = Latest(
            lambda signature: document(self.routes, signature, settings)
        )
        modules = OF_CONTRACT[settings.service.contract]
        routes = [route for module in modules for route in module.routes(self.parts)]
        routes += about.routes(self.parts, metrics, self.document)
        routes += docs_page.routes(self.parts, self.document)
        self.routes: list[Route] = routes
        self.front = Front(Router(routes), settings.service, self.parts.keyring, metrics, self._teller)
        self._sweeping = Sweeping(settings) if settings.service.model_folder is None else None

    def start(self) -> None:
        """Load the model in charge, or learn why there is none, and begin to record."""
        self.parts.current.start()
        if self.parts.recorder is not None:
            self.parts.recorder.start()
        if self._sweeping is not None:
            self._sweeping.start()

    def stop(self) -> None:
        """Write what is still to be recorded, within a bound, and end the threads."""
        self._teller.flush()
        if self.parts.recorder is not None:  # first, since it alone has something to lose
            self.parts.recorder.stop()
        self.parts.current.stop()
        if self._sweeping is not None:
            self._sweeping.stop()

    def document(self) -> Mapping[str, Any]:
        """Return the OpenAPI document of these routes for the model in charge, made once for each."""
        try:
            signature = self.parts.current.serving.signature
        except RequestError:
            signature = None  # no model yet
        return self._document.of(signature)


def _parts(settings: Settings) -> Parts:
    service = settings.service
    if service.host not in LOOPBACK and service.auth is None:
        raise ConfigError(
            f"service.host is {service.host}, which others can reach, and service.auth is not set.",
            'auth = "keys" (barometer keys create), or "platform" where a gateway in front authenticates.',
            "choose one in pipeline.toml, or listen on 127.0.0.1.",
        )
    has_warehouse = service.model_folder is None
    recorder = Recorder(settings) if has_warehouse and service.record_rows else None
    return Parts(
        settings=settings,
        current=Current(settings),
        predictor=Predictor(recorder, service.contract),
        recorder=recorder,
        lookup=Lookup(settings) if has_warehouse else None,
        keyring=Keyring(settings.path(service.keys_file)) if service.auth == "keys" else None,
    )
