"""The page's form, made from the model's features: what can be entered, what is usual, what was entered.

A field holds text; an empty field means "not known". Usual values come from the version's training profile, whose
bins are enough for a hint and a sensible start. Entry points: `fields`, `text_of`, `median` and `posted`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal
from urllib.parse import parse_qsl

from pipeline.errors import RequestError
from pipeline.manifests import KEYS
from pipeline.models.bundle import Feature
from pipeline.models.profile import Categories, Histogram, Numbers
from pipeline.reporting.filters import label
from pipeline.service.calls import Call
from pipeline.service.instances.signature import number
from pipeline.service.model.serving import Loaded

MOST_CHOICES = 50
"""A category with more values is a text field with suggestions."""
NOT_KNOWN = ""
QUESTION = re.compile(r"(is|are|has|have|had|was|were|did|does|can)_", re.IGNORECASE)
"""How the name of a truth value begins; a snapshot has it as 0 and 1."""
LARGEST_WHOLE = 1e15
"""Larger whole numbers are not written out: a float does not hold their last digit."""
FORM_TYPE = "application/x-www-form-urlencoded"

Kind = Literal["number", "choice", "text"]


@dataclass(frozen=True)
class Field:
    """A field of the form."""

    name: str
    """The feature's."""
    label: str
    kind: Kind
    text: str
    choices: Mapping[str, str]
    """What a person reads, by the text that is sent; for a text field, suggestions."""
    histogram: Histogram | None
    """How the feature was distributed in training, for a hint; None where the choices say enough."""


def fields(loaded: Loaded, texts: Mapping[str, str] | None) -> list[Field]:
    """Return a field for each feature of a version; without `texts` each starts with what is usual."""
    found = []
    for feature in loaded.bundle.features:
        name = feature.name
        histogram = loaded.profile.features.get(name) if loaded.profile else None
        text = _usual(histogram) if texts is None else texts.get(name, NOT_KNOWN)
        kind, choices = _choices(feature, histogram)
        if kind == "number" and not _is_number(text):  # a browser's field for numbers would drop it
            kind = "text"
        if kind == "choice":
            choices = {NOT_KNOWN: "Not known", **choices}
            choices.setdefault(text, text)
        words = label(name).strip() or name
        shown = None if kind == "choice" else histogram
        found.append(Field(name, words[:1].upper() + words[1:], kind, text, choices, shown))
    return found


def text_of(value: float | bool | str | None) -> str:
    """Return a feature's value as the text of a field.

    >>> text_of(12.0), text_of(True), text_of(None), text_of(0.25), text_of("gold")
    ('12', '1', '', '0.25', 'gold')
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN is unlike itself
        return NOT_KNOWN
    if isinstance(value, str):
        return value
    whole = abs(value) < LARGEST_WHOLE and value == int(value)
    return str(int(value)) if whole else f"{value:.7g}"  # the digits that float32 holds


def median(histogram: Numbers) -> float | None:
    """Return the upper end of the bin that holds the median; None if that bin is open.

    >>> median(Numbers(edges=[1, 2, 3], counts=[5, 5, 5, 5], missing=0))
    2.0
    """
    half = sum(histogram.counts) / 2
    ends = zip(histogram.edges, accumulate(histogram.counts), strict=False)
    return next((edge for edge, below in ends if below >= half), None)


def posted(call: Call, names: Sequence[str]) -> dict[str, str]:
    """Return the texts of a form by feature, customer_id and product_id; raise 415 or 422 if it has other fields."""
    if call.media.name != FORM_TYPE:
        found = f"The body's media type is {call.media.name[:80]!r}."
        do = "use the form, or from a program POST /predict."
        raise RequestError(415, found, f"{FORM_TYPE}, as the page's form is sent.", do)
    known = {*names, *KEYS}
    try:
        body = call.content.decode("ascii")
        given = dict(parse_qsl(body, keep_blank_values=True, errors="strict", max_num_fields=len(known)))
    except ValueError:
        given = {"": ""}
    if unknown := given.keys() - known:
        found = f"The form has the field {min(unknown)[:80]!r}, or is cut short."
        expected = "a field for each feature of the model in charge, which may have changed meanwhile."
        raise RequestError(422, found, expected, "go back to the page and load it again.")
    return {name: text.strip() if name in KEYS else text for name, text in given.items()}


def _choices(feature: Feature, histogram: Histogram | None) -> tuple[Kind, dict[str, str]]:
    if feature.kind == "number":
        edges = histogram.edges if isinstance(histogram, Numbers) else [0.0]
        is_truth = QUESTION.match(feature.name) and set(edges) <= {0.0}
        return ("choice", {"0": "No", "1": "Yes"}) if is_truth else ("number", {})
    if len(feature.categories) <= MOST_CHOICES:
        another = "another"
        while another in feature.categories:
            another += "*"
        return "choice", {**{category: category for category in feature.categories}, another: "Another one"}
    most_frequent = histogram.counts if isinstance(histogram, Categories) else feature.categories[:MOST_CHOICES]
    return "text", {category: category for category in most_frequent}


def _is_number(text: str) -> bool:
    try:
        return not isinstance(number(text, ""), bool)
    except RequestError:
        return False


def _usual(histogram: Histogram | None) -> str:
    if isinstance(histogram, Categories):
        listed = max(histogram.counts, key=histogram.counts.__getitem__, default=NOT_KNOWN)
        return listed if histogram.counts.get(listed, 0) >= histogram.missing else NOT_KNOWN
    if histogram is None or sum(histogram.counts) < histogram.missing:
        return NOT_KNOWN
    if (middle := median(histogram)) is not None:
        return text_of(float(f"{middle:.4g}"))
    return "1" if histogram.edges == [0.0] else NOT_KNOWN
