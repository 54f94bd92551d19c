"""What was entered in the page's form, looked at: instances to predict, or what is wrong with which field.

A subject that was published brings its features from its latest snapshot; of the fields only those count that were
changed since, so that an untouched one is exactly what the snapshot has. What is wrong with a text the signature says,
as it does for CSV. The entry point is `entry`.
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

KEY_NAMES = dict(zip(KEYS, ("customer", "product"), strict=True))


@dataclass
class Entry:
    """A form's content."""

    texts: dict[str, str]
    """What stands in the fields, by feature."""
    subject: tuple[str, str] = (NOT_KNOWN, NOT_KNOWN)
    """customer_id and product_id."""
    week: date | None = None
    """Of the snapshot that the subject's features come from."""
    sent: dict[str, str] = field(default_factory=dict)
    """What counts of the texts: with a snapshot those that differ from it."""
    before: dict[str, str] = field(default_factory=dict)
    """What the snapshot has for these."""
    errors: dict[str, RequestError] = field(default_factory=dict)
    """By feature, or by key."""
    instances: Instances | None = None
    """One, unless there are errors."""


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
        If what is wrong is no field's.
    """
    names = serving.signature.names
    customer_id, product_id = (given.get(key, NOT_KNOWN) for key in KEYS)
    texts = {name: text for name, text in given.items() if name not in KEYS}
    found = Entry(texts, (customer_id, product_id))
    snapshot: tuple[str, Values] | None = None
    if lookup is not None and (customer_id or product_id):
        found.errors |= _keys_absent(given)
        try:
            snapshot = None if found.errors else lookup.features(customer_id, product_id, names)
        except RequestError as error:  # kept out of that week; the warehouse is away
            found.errors["customer_id"] = error
        if snapshot is None and not found.errors:
            found.errors["customer_id"] = _unknown_subject(customer_id, product_id)
    known = dict.fromkeys(names, NOT_KNOWN)
    if snapshot is not None:
        found.week, known = date.fromisoformat(snapshot[0]), dict(zip(names, map(text_of, snapshot[1]), strict=True))
    found.sent = {n: t for n, t in texts.items() if t != known[n]} if snapshot else {n: texts.get(n, "") for n in names}
    found.before = {name: known[name] for name in found.sent} if snapshot else {}
    if found.errors and not texts:  # only a subject was given: the fields stay as they began
        found.texts = usual_texts(serving.champion.bundle.features, serving.champion.profile)
        return found
    found.texts = known | texts
    instances = _read(serving.signature, found, snapshot)
    found.instances = None if found.errors else instances
    return found


def _read(signature: Signature, entered: Entry, snapshot: tuple[str, Values] | None) -> Instances:
    """Return the instance, and note what is wrong with every field, not with the first one alone."""

    def complete(_customer: str, _product: str, names: Sequence[str]) -> tuple[str, Values]:
        assert snapshot is not None, "without one every feature is sent"
        values = dict(zip(signature.names, snapshot[1], strict=True))
        return snapshot[0], tuple(values[name] for name in names)

    sent = dict(entered.sent)
    while True:
        try:
            return Reader(signature, complete=complete).texts([*sent, *KEYS], [[*sent.values(), *entered.subject]])
        except RequestError as error:
            name = error.field
            if name is None or not sent.get(name):
                raise
            entered.errors[name] = _beside(error)
            sent[name] = NOT_KNOWN


def _beside(error: RequestError) -> RequestError:
    """Return an instance's error as it reads beside the field."""
    found = error.found.removeprefix("In an instance ")
    return RequestError(
        error.status,
        found[:1].upper() + found[1:],
        error.expected,
        "mend it, or empty the field where it is not known.",
        field=error.field,
    )


def _keys_absent(given: Mapping[str, str]) -> dict[str, RequestError]:
    return {
        key: RequestError(
            422,
            f"There is no {name}.",
            "a customer and one of its products.",
            f"enter the {name}, or use the form below without either.",
            field=key,
        )
        for key, name in KEY_NAMES.items()
        if not given.get(key)
    }


def _unknown_subject(customer_id: str, product_id: str) -> RequestError:
    return RequestError(
        422,
        f"No published week has the customer {customer_id[:80]!r} with the product {product_id[:80]!r}.",
        "both as predictions have them, in upper and lower case alike.",
        "look them up in latest_predictions, or enter what you know in the form below.",
        field="customer_id",
    )
