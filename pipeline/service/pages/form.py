"""The page's form, made from the model's features: what can be entered, what is usual, what was entered.

A field's text is what stands in it in the browser; empty is "not known". What is usual comes from the version's
training profile, which has bins only: enough for a hint and a sensible start. Entry points: `fields`, `usual_texts`,
`text_of` and `posted`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal
from urllib.parse import parse_qsl

from pipeline.errors import RequestError
from pipeline.models.bundle import Feature
from pipeline.models.profile import Categories, Histogram, Numbers, Profile
from pipeline.reporting.filters import label, percent
from pipeline.service.calls import Call
from pipeline.service.instances.signature import KEYS, number

MOST_CHOICES = 50
"""A category of more is a text field with suggestions."""
NOT_KNOWN = ""
NO_OR_YES = {"0": "No", "1": "Yes"}
QUESTION = re.compile(r"(is|are|has|have|had|was|were|did|does|can)_", re.IGNORECASE)
"""How the name of a truth value begins; a snapshot knows it as 0 and 1."""
OFTEN_MISSING = 0.2
LARGEST_WHOLE = 1e15
"""Beyond it a float is not written out to its last digit."""
FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Field:
    """A field of the form."""

    name: str
    """The feature's."""
    label: str
    kind: Literal["number", "choice", "text"]
    text: str
    """What stands in it."""
    choices: Mapping[str, str]
    """By the text that is sent, what a person reads; for a text field, suggestions."""
    hint: str
    error: RequestError | None
    """What is wrong with the text."""

    @property
    def is_number(self) -> bool:
        """Whether a browser's field for numbers would keep the text."""
        try:
            return self.kind == "number" and not isinstance(number(self.text, self.name), bool)
        except RequestError:
            return False


def fields(
    features: Sequence[Feature], profile: Profile | None, texts: Mapping[str, str], errors: Mapping[str, RequestError]
) -> list[Field]:
    """Return the form's fields, in the features' order.

    Parameters
    ----------
    features
        The model's.
    profile
        Its training profile, for hints.
    texts
        What stands in the fields, by feature; what is not there is not known.
    errors
        What is wrong with them, by feature.
    """
    found = []
    for feature in features:
        histogram = profile.features.get(feature.name) if profile else None
        kind, choices = _choices(feature, histogram)
        text = texts.get(feature.name, NOT_KNOWN)
        if kind == "choice":
            choices = {NOT_KNOWN: "Not known", **choices}
            choices |= {text: text} if text not in choices else {}
        hint = "" if kind == "choice" else _hint(histogram)
        found.append(Field(feature.name, _label(feature.name), kind, text, choices, hint, errors.get(feature.name)))
    return found


def usual_texts(features: Sequence[Feature], profile: Profile | None) -> dict[str, str]:
    """Return what is usual, for a form to start with: the median of a number, the most frequent category."""
    if profile is None:
        return {}
    return {feature.name: _usual(profile.features.get(feature.name)) for feature in features}


def text_of(value: float | bool | str | None) -> str:
    """Return a feature's value as it stands in a field.

    Examples
    --------
    >>> text_of(12.0), text_of(True), text_of(None), text_of(0.25), text_of("gold")
    ('12', '1', '', '0.25', 'gold')
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN is unlike itself
        return NOT_KNOWN
    if isinstance(value, str):
        return value
    whole = abs(value) < LARGEST_WHOLE and value == int(value)
    return str(int(value)) if whole else f"{value:.7g}"  # what float32 holds for certain


def posted(call: Call, names: Sequence[str]) -> dict[str, str]:
    """Return the texts of a form that was sent.

    Parameters
    ----------
    call
        The request.
    names
        The features; beside them there may be customer_id and product_id.

    Raises
    ------
    RequestError
        415 or 422: it is no such form.
    """
    if call.media.name != FORM_TYPE:
        raise RequestError(
            415,
            f"The body's media type is {call.media.name[:80]!r}.",
            f"{FORM_TYPE}, as the page's form is sent.",
            "use the form, or from a program POST /predict.",
        )
    try:
        given = dict(
            parse_qsl(
                call.content.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=len(names) + len(KEYS),
            )
        )
    except ValueError:
        given = {NOT_KNOWN: NOT_KNOWN}
    if unknown := given.keys() - {*names, *KEYS}:
        raise RequestError(
            422,
            f"The form has the field {min(unknown)[:80]!r}, or is cut short.",
            "a field for each feature of the model in charge; another may have come into force meanwhile.",
            "go back to the page and load it anew.",
        )
    return {name: text.strip() if name in KEYS else text for name, text in given.items()}


def _choices(
    feature: Feature, histogram: Histogram | None
) -> tuple[Literal["number", "choice", "text"], dict[str, str]]:
    if feature.kind == "number":
        edges = histogram.edges if isinstance(histogram, Numbers) else [0.0]
        is_truth = QUESTION.match(feature.name) and set(edges) <= {0.0}
        return ("choice", NO_OR_YES) if is_truth else ("number", {})
    if len(feature.categories) <= MOST_CHOICES:
        another = "another"
        while another in feature.categories:
            another += "*"
        return "choice", {**{category: category for category in feature.categories}, another: "Another one"}
    most_frequent = histogram.counts if isinstance(histogram, Categories) else feature.categories[:MOST_CHOICES]
    return "text", {category: category for category in most_frequent}


def _usual(histogram: Histogram | None) -> str:
    if isinstance(histogram, Categories):
        listed = max(histogram.counts, key=histogram.counts.__getitem__, default=NOT_KNOWN)
        return listed if histogram.counts.get(listed, 0) >= histogram.missing else NOT_KNOWN
    if histogram is None or sum(histogram.counts) < histogram.missing:
        return NOT_KNOWN
    if (middle := median(histogram)) is not None:
        return text_of(float(f"{middle:.4g}"))
    return "1" if histogram.edges == [0.0] else NOT_KNOWN


def median(histogram: Numbers) -> float | None:
    """Return the upper end of the bin that holds the median; None where that bin is open.

    Examples
    --------
    >>> median(Numbers(edges=[1, 2, 3], counts=[5, 5, 5, 5], missing=0))
    2.0
    """
    half = sum(histogram.counts) / 2
    return next(
        (edge for edge, below in zip(histogram.edges, accumulate(histogram.counts), strict=False) if below >= half),
        None,
    )


def _hint(histogram: Histogram | None) -> str:
    return " ".join(_hints(histogram)) if histogram else ""


def _hints(histogram: Histogram) -> Iterator[str]:
    if isinstance(histogram, Numbers):
        if len(histogram.edges) > 1:
            yield f"Usually {_number(histogram.edges[0])} to {_number(histogram.edges[-1])}."
        elif histogram.edges:
            mostly = "at most" if histogram.counts[0] * 2 >= sum(histogram.counts) else "more than"
            yield f"Usually {mostly} {_number(histogram.edges[0])}."
    known = sum(histogram.counts if isinstance(histogram, Numbers) else [*histogram.counts.values(), histogram.other])
    if (rows := known + histogram.missing) and histogram.missing / rows >= OFTEN_MISSING:
        yield f"Not known of {percent(histogram.missing / rows)}."


def _number(value: float) -> str:
    text = f"{value:,.0f}" if abs(value) < LARGEST_WHOLE and value == int(value) else f"{value:,.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _label(name: str) -> str:
    words = label(name).strip() or name
    return words[:1].upper() + words[1:]
