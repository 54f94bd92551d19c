"""The page at `/`: a form made from the model's features, the answer, the model in charge, the latest weekly report.

It needs no script: the form is sent to `/` and answered with the page, what was entered kept in it. The answer is made
by the same `Predictor` as that of `POST /predict`. The entry point is `routes`.
"""

import logging
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.errors import BarometerError, RequestError
from pipeline.service.calls import Call, Route
from pipeline.service.instances.signature import KEYS
from pipeline.service.model.current import Current
from pipeline.service.model.serving import Loaded, Serving
from pipeline.service.pages.answer import Told, command, told
from pipeline.service.pages.entry import Entry, entry
from pipeline.service.pages.form import fields, posted, usual_texts
from pipeline.service.pages.html import answered, error_page
from pipeline.service.predict.predictor import Predictor
from pipeline.service.published.lookup import Lookup
from pipeline.service.thread_pools import pages, warehouse
from pipeline.settings import Settings

PROBLEMS = {"registry": "model registry", "champion": "current version", "copy": "local copy of the model"}
"""What may be wrong, as `Current.readiness` names it and as the page does."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What the page is made from."""

    settings: Settings
    current: Current
    predictor: Predictor
    lookup: Lookup | None
    needs_key: bool


def routes(parts: Parts) -> list[Route]:
    """Return the routes of the page."""
    error = error_page(parts.settings)
    return [
        Route("GET", "/", partial(_show, parts), scope="predict", error=error),
        Route("POST", "/", partial(_ask, parts), scope="predict", error=error),
    ]


async def _show(parts: Parts, _call: Call) -> Response:
    try:
        serving = parts.current.serving
    except RequestError as error:
        return await pages(_page, parts, None, Entry({}), trouble=error)
    champion = serving.champion
    usual = Entry(usual_texts(champion.bundle.features, champion.profile))
    return await pages(_page, parts, serving, usual)


async def _ask(parts: Parts, call: Call) -> Response:
    """Answer the form, what is wrong with it beside its fields."""
    serving = parts.current.serving
    given = posted(call, serving.signature.names)
    entered = await warehouse(entry, serving, parts.lookup, given)
    if entered.instances is None:
        status = max(error.status for error in entered.errors.values())
        return await pages(_page, parts, serving, entered, status=status)
    (prediction,) = await parts.predictor.predict(call, serving, entered.instances)
    usual = await warehouse(_usual, parts, entered.subject[1])
    kinds = {feature.name: feature.kind for feature in serving.signature.features}
    ask_again = command(call, entered, kinds, key=parts.needs_key)
    answer = told(serving, entered, prediction, usual=usual, command=ask_again)
    return await pages(_page, parts, serving, entered, answer=answer)


def _usual(parts: Parts, product_id: str) -> float | None:
    """Return the product's usual satisfaction; that it cannot be asked leaves the answer as good as it is."""
    if parts.lookup is None or not product_id:
        return None
    try:
        return parts.lookup.usual(product_id)
    except BarometerError as error:
        log.warning("The product's usual satisfaction is not shown: %s", error)
        return None


def _page(
    parts: Parts,
    serving: Serving | None,
    entered: Entry,
    *,
    answer: Told | None = None,
    trouble: RequestError | None = None,
    status: int = 200,
) -> Response:
    settings = parts.settings
    champion = serving.champion if serving else None
    return answered(
        settings,
        "service.html",
        status=status,
        model=champion and _model(champion),
        serving=serving,
        problems=_problems(parts.current.readiness()),
        trouble=trouble,
        routing=serving and _routing(serving),
        fields=fields(champion.bundle.features, champion.profile, entered.texts, entered.errors) if champion else [],
        entered=entered,
        keys=dict(zip(KEYS, entered.subject, strict=True)),
        knows_subjects=parts.lookup is not None,
        answer=answer,
        report=_latest_report(settings.site),
        trainings=(settings.site / "training/index.html").is_file(),
    )


def _problems(readiness: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is wrong while the last good version serves on, in words of the page."""
    return [
        {
            "what": PROBLEMS.get(problem["what"], problem["what"]),
            "since": datetime.fromisoformat(problem["since"]),
            "error": problem["error"],
        }
        for problem in readiness["problems"]
    ]


def _model(champion: Loaded) -> dict[str, Any]:
    bundle = champion.bundle
    return {"version": champion.version, "training": bundle.training, "roc_auc": bundle.metrics.get("roc_auc")}


def _routing(serving: Serving) -> str:
    """Return which part the challenger has."""
    challenger, routing = serving.challenger, serving.routing
    if challenger is None:
        return "None: the champion answers everybody."
    if routing.mode == "ab":
        return (
            f"A/B test: version {challenger.version}, the challenger, answers for {routing.fraction:.0%} of the"
            " customers, the same ones as in the weekly run."
        )
    return f"Shadow: version {challenger.version}, the challenger, scores every question too; nobody is answered that."


class _Summary(msgspec.Struct):
    """What a weekly report says of itself, as far as it is shown here."""

    week: date
    headline: str


def _latest_report(site: Path) -> _Summary | None:
    """Return the summary of the latest weekly report; None when there is none."""
    for path in sorted((site / "reports").glob("*.json"), reverse=True):
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Summary)
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s is no report's summary: %s", path.name, error)
    return None
