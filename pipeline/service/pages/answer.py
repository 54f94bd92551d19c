"""What the page says of an answer: in words, and where it stands on the picture's scale.

The entry point is `told`.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.models.profile import Profile
from pipeline.reporting.words import UNCHANGED, counted, day, percent
from pipeline.service.calls import JSON, Call
from pipeline.service.instances.predictions import Prediction
from pipeline.service.instances.signature import KEYS
from pipeline.service.model.serving import Serving
from pipeline.service.pages.entry import Entry
from pipeline.service.pages.form import NOT_KNOWN, median

LEFT, RIGHT = 0.35, 0.65
"""Beyond these a label stands beside its mark, not about it: it would not fit a phone."""


@dataclass(frozen=True)
class Mark:
    """A mark on the scale from 0 to 100%."""

    across: str
    """From the left, in percent of the width."""
    anchor: str
    """Which part of its label stands at it, as SVG says it."""
    words: str


@dataclass(frozen=True)
class Told:
    """An answer for a person."""

    prediction: Prediction
    answer: Mark
    usual: Mark | None
    threshold: Mark
    against: str
    """A sentence about the usual; empty when nothing is known of that."""
    made_from: str
    served_by: str
    command: str
    """The same from a program."""


def told(serving: Serving, entered: Entry, prediction: Prediction, *, usual: float | None, command: str) -> Told:
    """Return what there is to say.

    Parameters
    ----------
    serving, entered, prediction
        The model, the question, the answer.
    usual
        The product's usual satisfaction; None when it is not known, then the model's own usual is told.
    command
        As `command` returns it.
    """
    whose, meaning = "the product's usual", "its mean in its latest published week"
    if usual is None:
        whose, meaning = "the model's usual", "the middle of those that it was tried on"
        usual = usual_of(serving.champion.profile)
    return Told(
        prediction=prediction,
        answer=_mark(prediction.satisfaction, "this answer"),
        usual=None if usual is None else _mark(usual, whose),
        threshold=_mark(serving.champion.scorer.threshold, "likely satisfied from"),
        against=""
        if usual is None
        else _against(prediction.satisfaction - usual, whose, f"{percent(usual)} ({meaning})"),
        made_from=_made_from(entered),
        served_by=f"version {prediction.model_version}, the {prediction.role}",
        command=command,
    )


def usual_of(profile: Profile | None) -> float | None:
    """Return the median satisfaction of the subjects that a version was tried on."""
    return median(profile.satisfaction) if profile else None


def command(call: Call, entered: Entry, kinds: Mapping[str, str], *, key: bool) -> str:
    """Return the curl command that asks the same of `POST /predict`.

    Parameters
    ----------
    call
        The form's; it knows the address.
    entered
        What it asks.
    kinds
        By feature whether it is a number.
    key
        Whether a key is required.
    """
    host = call.fields.get(b"origin") or b"http://" + call.fields.get(b"host", b"127.0.0.1")
    values: dict[str, object] = {
        name: None if text == NOT_KNOWN else _number(text) if kinds[name] == "number" else text
        for name, text in entered.sent.items()
    }
    values |= {key: text for key, text in zip(KEYS, entered.subject, strict=True) if text}
    body = json.dumps({"instances": [values]}, ensure_ascii=False)
    words = ["curl", f"{host.decode('latin-1')}/predict", "-H", f"content-type: {JSON}", "-d", body]
    return " ".join(map(shlex.quote, words)) + (' -H "authorization: Bearer $KEY"' if key else "")


def _number(text: str) -> object:
    lower = text.strip().lower()
    return lower == "true" if lower in {"true", "false"} else float(text)


def _mark(value: float, words: str) -> Mark:
    anchor = "start" if value < LEFT else "end" if value > RIGHT else "middle"
    return Mark(f"{value * 100:.2f}%", anchor, f"{words} {percent(value)}")


def _against(difference: float, whose: str, usual: str) -> str:
    if abs(difference) < UNCHANGED:
        return f"That is {whose}, {usual}."
    where = "above" if difference > 0 else "below"
    return f"That is {abs(difference) * 100:.1f} points {where} {whose}, {usual}."


def _made_from(entered: Entry) -> str:
    if entered.week is not None:
        customer_id, product_id = entered.subject
        what = f"Made from what was known of {customer_id} with {product_id}"
        return f"{what} at the end of the week of {day(entered.week)}"
    unknown = sum(text == NOT_KNOWN for text in entered.sent.values())
    if not unknown:
        return "Made from what you entered"
    return f"Made from what you entered; {counted(unknown, 'feature')} of {len(entered.sent)} not known"
