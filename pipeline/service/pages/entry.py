"""What was entered in the page's form: an instance to predict, or what is wrong with which field.

The features of a published subject come from its latest snapshot, exactly as it has them; only fields that were changed
since are taken from the form. The entry point is `entry`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipeline.errors import RequestError
from pipeline.manifests import KEYS
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Features, Instances, Signature, number
from pipeline.service.pages.form import NOT_KNOWN, text_of
from pipeline.service.published.lookup import FeatureQuery, Lookup


@dataclass
class Entry:
    """A form's content."""

    texts: Mapping[str, str] | None = None
    """The fields' texts, by feature; None where the form starts as usual."""
    subject: dict[str, str] = field(default_factory=lambda: dict.fromkeys(KEYS, NOT_KNOWN))
    """customer_id and product_id."""
    week: date | None = None
    """The week of the snapshot that the subject's features come from."""
    known: dict[str, str] = field(default_factory=dict)
    """What the snapshot has, by feature."""
    sent: dict[str, str] = field(default_factory=dict)
    """The texts that are used: all, or with a snapshot those that differ from it."""
    errors: dict[str, RequestError] = field(default_factory=dict)
    """By feature, customer_id or product_id."""
    row: dict[str, Any] = field(default_factory=dict)
    """The values of `sent`, and of `subject` where it is given, as a request has them."""
    instances: Instances | None = None
    """The one instance; None if there are errors."""


def entry(signature: Signature, lookup: Lookup | None, given: Mapping[str, str]) -> Entry:
    """Return what a form asks for, with what is wrong by field; other faults are raised as a `RequestError`.

    `given` holds the texts, as `posted` returns them. Without a warehouse there is no `lookup` of a subject's features.
    """
    texts = {name: text for name, text in given.items() if name not in KEYS}
    entered = Entry(texts, {key: given.get(key, NOT_KNOWN) for key in KEYS})
    known: dict[str, Any] = {}
    if lookup is not None and any(entered.subject.values()):
        try:
            week, values = _snapshot(lookup, entered.subject, signature.names)
            known = dict(zip(signature.names, values, strict=True))
            entered.week = date.fromisoformat(week)
        except RequestError as error:
            entered.errors[error.field if error.field in KEYS else "customer_id"] = error
            if not texts:  # only a subject was given: the other form starts as usual
                entered.texts = None
                return entered
    if entered.week is None:
        entered.sent = {name: texts.get(name, NOT_KNOWN) for name in signature.names}
    else:
        entered.known = {name: text_of(value) for name, value in known.items()}
        entered.texts = entered.known | texts
        entered.sent = {name: text for name, text in texts.items() if text != entered.known[name]}
    for name, text in entered.sent.items():
        try:
            entered.row[name] = number(text, name) if signature.kinds[name] == "number" else text or None
        except RequestError as error:
            error.found = error.found.removeprefix("In an instance ")
            error.do = "correct it, or empty the field if the value is not known."
            entered.errors[name] = error
    entered.row |= {key: text for key, text in entered.subject.items() if text}
    if not entered.errors:
        entered.instances = Reader(signature).objects([known | entered.row])
        if entered.week is not None:
            entered.instances.weeks[0] = str(entered.week)
    return entered


def _snapshot(lookup: Lookup, subject: Mapping[str, str], names: Sequence[str]) -> Features:
    """Return the week and the features of the subject's latest snapshot; RequestError if it has none."""
    for key, name in zip(KEYS, ("customer", "product"), strict=True):
        if not subject[key]:
            do = f"enter the {name}, or use the form below without either."
            raise RequestError(422, f"There is no {name}.", "a customer and one of its products.", do, field=key)
    customer_id, product_id = (subject[key] for key in KEYS)
    (snapshot,) = lookup.features([FeatureQuery(customer_id, product_id, tuple(names))])
    if isinstance(snapshot, RequestError):
        raise snapshot
    if snapshot is None:
        found = f"No published week has the customer {customer_id[:80]!r} with the product {product_id[:80]!r}."
        do = "look them up in latest_predictions, or enter what you know in the form below."
        raise RequestError(422, found, "both as predictions have them, upper and lower case included.", do)
    return snapshot
