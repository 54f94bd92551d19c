"""What was entered in the page's form: an instance to predict, or what is wrong with which field.

The features of a published subject come from its latest snapshot, exactly as it has them; only fields that were changed
since are taken from the form. The entry point is `entry`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from pipeline.errors import RequestError
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import KEYS, Instances, Signature, Values
from pipeline.service.model.serving import Serving
from pipeline.service.pages.form import NOT_KNOWN, text_of, usual_texts
from pipeline.service.published.lookup import Lookup


@dataclass
class Entry:
    """A form's content."""

    texts: dict[str, str] = field(default_factory=dict)
    """The fields' texts, by feature."""
    subject: dict[str, str] = field(default_factory=lambda: dict.fromkeys(KEYS, NOT_KNOWN))
    """customer_id and product_id."""
    week: date | None = None
    """The week of the snapshot that the subject's features come from."""
    sent: dict[str, str] = field(default_factory=dict)
    """The texts that are used: all, or with a snapshot those that differ from it."""
    before: dict[str, str] = field(default_factory=dict)
    """What the snapshot has in place of these."""
    errors: dict[str, RequestError] = field(default_factory=dict)
    """By feature, customer_id or product_id."""
    instances: Instances | None = None
    """The one instance; None if there are errors."""


def entry(serving: Serving, lookup: Lookup | None, given: Mapping[str, str]) -> Entry:
    """Return what a form asks for.

    Parameters
    ----------
    serving
        The model in charge.
    lookup
        Where a subject's features are found; None where there is no warehouse.
    given
        The texts, as `posted` returns them.

    Raises
    ------
    RequestError
        If something is wrong that is not in a field.
    """
    names = serving.signature.names
    texts = {name: text for name, text in given.items() if name not in KEYS}
    entered = Entry(texts, {key: given.get(key, NOT_KNOWN) for key in KEYS})
    snapshot: tuple[str, Values] | None = None
    if lookup is not None and any(entered.subject.values()):
        try:
            snapshot = _snapshot(lookup, entered.subject, names)
        except RequestError as error:
            entered.errors[error.field if error.field in KEYS else "customer_id"] = error
            if not texts:  # only a subject was given: the other form starts as usual
                entered.texts = usual_texts(serving.champion.bundle.features, serving.champion.profile)
                return entered
    if snapshot is None:
        entered.sent = {name: texts.get(name, NOT_KNOWN) for name in names}
    else:
        known = dict(zip(names, map(text_of, snapshot[1]), strict=True))
        entered.week, entered.texts = date.fromisoformat(snapshot[0]), known | texts
        entered.sent = {name: text for name, text in texts.items() if text != known[name]}
        entered.before = {name: known[name] for name in entered.sent}
    instances = _instances(serving.signature, entered, snapshot)
    entered.instances = None if entered.errors else instances
    return entered


def _snapshot(lookup: Lookup, subject: Mapping[str, str], names: Sequence[str]) -> tuple[str, Values]:
    """Return the week and the features of the subject's latest snapshot; RequestError if it has none."""
    customer_id, product_id = (subject[key] for key in KEYS)
    for key, name in zip(KEYS, ("customer", "product"), strict=True):
        if not subject[key]:
            raise RequestError(
                422,
                f"There is no {name}.",
                "a customer and one of its products.",
                f"enter the {name}, or use the form below without either.",
                field=key,
            )
    found = lookup.features(customer_id, product_id, names)
    if found is None:
        raise RequestError(
            422,
            f"No published week has the customer {customer_id[:80]!r} with the product {product_id[:80]!r}.",
            "both as predictions have them, upper and lower case included.",
            "look them up in latest_predictions, or enter what you know in the form below.",
        )
    return found


def _instances(signature: Signature, entered: Entry, snapshot: tuple[str, Values] | None) -> Instances:
    """Return the instance, and note what is wrong with each field, not with the first one alone."""

    def complete(_customer: str, _product: str, names: Sequence[str]) -> tuple[str, Values]:
        assert snapshot is not None, "without one every feature is sent"
        values = dict(zip(signature.names, snapshot[1], strict=True))
        return snapshot[0], tuple(values[name] for name in names)

    sent = dict(entered.sent)
    while True:
        try:
            return Reader(signature, complete=complete).texts(
                [*sent, *KEYS], [[*sent.values(), *entered.subject.values()]]
            )
        except RequestError as error:
            name = error.field or ""
            if not sent.get(name):
                raise
            error.found = error.found.removeprefix("In an instance ")
            error.found = error.found[:1].upper() + error.found[1:]
            error.do = "correct it, or empty the field if the value is not known."
            entered.errors[name] = error
            sent[name] = NOT_KNOWN
