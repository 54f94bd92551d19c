"""The page at `/`: a form made from the model's features, the answer, the model in charge, the latest weekly report.

It needs no script: the form is sent to `/`, and the response is the page with the answer and what was entered. The
`Predictor` of `POST /predict` makes the answer. The entry point is `Page`.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
from starlette.responses import Response

from pipeline.errors import BarometerError, RequestError
from pipeline.service.calls import JSON, Call, Route
from pipeline.service.model.current import Current
from pipeline.service.model.serving import Serving
from pipeline.service.pages.docs import curl
from pipeline.service.pages.entry import Entry, entry
from pipeline.service.pages.form import fields, median, posted
from pipeline.service.pages.html import as_page, error_page, rendered
from pipeline.service.predict.predictor import Predictor
from pipeline.service.published.lookup import Lookup
from pipeline.service.thread_pools import pages, warehouse
from pipeline.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """The page, and what it is made from."""

    settings: Settings
    current: Current
    predictor: Predictor
    lookup: Lookup | None
    """Where a subject's features are found; None without a warehouse."""
    needs_key: bool

    def routes(self) -> list[Route]:
        """Return the routes of the page."""
        error = error_page(self.settings)
        return [
            Route("GET", "/", self._show, scope="predict", error=error),
            Route("POST", "/", self._ask, scope="predict", error=error),
        ]

    async def _show(self, _call: Call) -> Response:
        try:
            serving = self.current.serving
        except RequestError as error:
            return await pages(self._response, None, Entry(), trouble=error)
        return await pages(self._response, serving, Entry())

    async def _ask(self, call: Call) -> Response:
        """Answer the form, or show what is wrong beside its fields."""
        serving = self.current.serving
        given = posted(call, serving.signature.names)
        entered = await warehouse(entry, serving.signature, self.lookup, given)
        if entered.instances is None:
            return await pages(self._response, serving, entered)
        (prediction,) = await self.predictor.predict(call, serving, entered.instances)
        usual = await warehouse(self._usual, entered.subject["product_id"])
        host = call.fields.get(b"origin") or b"http://" + call.fields.get(b"host", b"127.0.0.1")
        body = json.dumps({"instances": [entered.row]}, ensure_ascii=False)
        command = curl(f"{host.decode('latin-1')}/predict", "POST", JSON, body, needs_key=self.needs_key)
        answer = {"prediction": prediction, "product_usual": usual, "command": command}
        return await pages(self._response, serving, entered, answer=answer)

    def _usual(self, product_id: str) -> float | None:
        """Return the product's usual satisfaction; None if it is not known, which does not spoil the answer."""
        if self.lookup is None or not product_id:
            return None
        try:
            return self.lookup.usual(product_id)
        except BarometerError as error:
            log.warning("The product's usual satisfaction is not shown: %s", error)
            return None

    def _response(
        self,
        serving: Serving | None,
        entered: Entry,
        *,
        answer: Mapping[str, object] | None = None,
        trouble: RequestError | None = None,
    ) -> Response:
        site, champion = self.settings.site, serving.champion if serving else None
        text = rendered(
            self.settings,
            "service.html",
            serving=serving,
            problems=self.current.problems.now(),
            trouble=trouble,
            fields=fields(champion, entered.texts) if champion else [],
            entered=entered,
            knows_subjects=self.lookup is not None,
            answer=answer,
            model_usual=median(champion.profile.satisfaction) if champion and champion.profile else None,
            report=latest_report(site),
            has_trainings=(site / "training/index.html").is_file(),
        )
        return as_page(text, max((error.status for error in entered.errors.values()), default=200))


class Summary(msgspec.Struct):
    """What the page shows of a weekly report's summary."""

    week: date
    headline: str


def latest_report(site: Path) -> Summary | None:
    """Return the summary of the latest weekly report; None if there is none."""
    for path in sorted((site / "reports").glob("*.json"), reverse=True):
        try:
            return msgspec.json.decode(path.read_bytes(), type=Summary)
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s is no report's summary: %s", path.name, error)
    return None
