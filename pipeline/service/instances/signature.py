"""What a request must hold for a model, made from the model's features: types, decoders, and what they decode to.

A well-formed JSON body is decoded by one call of a decoder built for these very features (`Signature.fast`).
`pipeline.service.instances.rows` reads every other body row by row, so that an error names the row and the field.
Entry points: `Signature` and `Instances`.
"""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

from pipeline.errors import ModelError, RequestError
from pipeline.manifests import KEYS
from pipeline.models.bundle import Feature
from pipeline.service.instances.bodies import envelope
from pipeline.service.instances.wording import bad, cut

LARGEST = float(np.finfo(np.float32).max)
"""Numbers beyond it are infinite to the model, so they are refused."""
SHOWN_CATEGORIES = 20

Values = tuple[float | bool | str | None, ...]
"""One instance: a value for each feature, in the signature's order; None is missing."""
Features = tuple[str, Values]
"""The week of the latest snapshot, and a subject's values there."""
Complete = Callable[[str, str, Sequence[str]], Features]
"""From customer, product and names of features to the values of these."""
_Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | bool | None
_Rows = TypeVar("_Rows", bound=Sized)


@dataclass(slots=True)
class Instances:
    """The rows of a request."""

    values: list[Values] = field(default_factory=list)
    """The good ones, in order."""
    keys: list[tuple[str | None, str | None]] = field(default_factory=list)
    """Their customer_id and product_id."""
    weeks: dict[int, str] = field(default_factory=dict)
    """The week of the snapshot, by position in `values`, for those that were completed from one."""
    bad: dict[int, RequestError] = field(default_factory=dict)
    """What is wrong, by row of the request; the good ones have the other rows."""
    answer: Any = None
    """What the request says of its answer's form, for the `write` of the contract that read it."""

    @property
    def rows(self) -> int:
        """Rows of the request."""
        return len(self.values) + len(self.bad)


class Signature:
    """What a request must hold for a model: an instance is an object of the type `instance`, with every feature.

    `partial` is the type of one that may leave features out (`msgspec.UNSET`), `cells` that of a list of values in the
    model's order. `values_of` and `keys_of` return an object's values, and its customer_id and product_id. A feature's
    name that no field can have raises a `ModelError`.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        self.kinds = {feature.name: feature.kind for feature in features}
        self.names = tuple(self.kinds)
        try:
            self.instance, self.partial = (_struct(self.features, required=required) for required in (True, False))
        except ValueError as error:
            found = f"No request can name all of the model's features: {error}."
            expected = "names without double quotes, backslashes and control characters."
            do = "give the columns of features.sql other names and train anew."
            raise ModelError(found, expected, do) from None
        self.cells: Any = tuple[tuple(map(_type, features))]  # type: ignore[misc]
        self.values_of = _getter([f"f{at}" for at in range(len(self.names))])
        self.keys_of = _getter(KEYS)
        self._body = msgspec.json.Decoder(envelope(self.instance))

    def fast(self, body: bytes, most_rows: int) -> Instances | None:
        """Return the instances of `{"instances": […]}`, if not too many (413); None if anything needs a closer look."""
        try:
            rows = self._body.decode(body).instances
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None
        return not_empty(Instances([*map(self.values_of, limited(rows, most_rows))], [*map(self.keys_of, rows)]))

    def example(self) -> dict[str, Any]:
        """Return an instance that the model takes."""
        return {feature.name: _example(feature) for feature in self.features}


def limited(rows: _Rows, most: int) -> _Rows:
    """Return the rows; raise 413 if they are too many."""
    if len(rows) > most:
        raise RequestError(413, f"The request has {len(rows)} rows.", f"at most {most}.", "send several requests.")
    return rows


def not_empty(instances: Instances) -> Instances:
    """Return the instances; raise 422 if there are none."""
    if not instances.rows:
        raise RequestError(422, "The request has no instances.", "at least one.", "send one.")
    return instances


def number(cell: str, name: str) -> float | bool | None:
    """Return the number in a text, true or false, or None for an empty one; raise 422 for any other."""
    if not cell:
        return None
    if (lower := cell.strip().lower()) in {"true", "false"}:
        return lower == "true"
    try:
        value = float(cell if cell.isascii() and "_" not in cell else "x")
    except ValueError:
        value = np.nan
    if not abs(value) <= LARGEST:
        raise bad(f"{cut(cell)!r} is no number", f"a number from {-LARGEST:.4g} to {LARGEST:.4g}, or nothing", name)
    return value


def _struct(features: Sequence[Feature], *, required: bool) -> Any:
    fields: list[Any] = []
    for at, feature in enumerate(features):
        kind: Any = Annotated[_type(feature), _schema(feature)]
        if not required:
            kind |= msgspec.UnsetType
        default = msgspec.NODEFAULT if required else msgspec.UNSET
        fields.append((f"f{at}", kind, msgspec.field(default=default, name=feature.name)))
    fields += [(key, Annotated[str | None, _KEY], None) for key in KEYS]
    return msgspec.defstruct("Instance", fields, forbid_unknown_fields=True, gc=False, kw_only=True)


def _type(feature: Feature) -> Any:
    return _Number if feature.kind == "number" else str | None


def _schema(feature: Feature) -> msgspec.Meta:
    """Return what the schema of a feature has beside its type; `type` is for readers of the document."""
    examples = [_example(feature), None]
    if feature.kind == "number":
        return msgspec.Meta(examples=examples, extra_json_schema={"type": ["number", "boolean", "null"]})
    known = ", ".join(feature.categories[:SHOWN_CATEGORIES])
    description = f"Met in training: {known}. Others count as unseen, null as missing."
    return msgspec.Meta(description=description, examples=examples, extra_json_schema={"type": ["string", "null"]})


_KEY = msgspec.Meta(
    description="For an A/B test, for the record, and to complete the features that are left out.",
    extra_json_schema={"type": ["string", "null"]},
)


def _example(feature: Feature) -> float | str:
    if feature.kind == "number":
        return 1.0
    return feature.categories[0] if feature.categories else "a"


def _getter(names: Sequence[str]) -> Callable[[Any], Any]:
    """Return a function that gets attributes as a tuple, even a single one."""
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda row: (get(row),)
