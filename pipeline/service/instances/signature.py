"""The request's schema, made from the model's signature: bytes to instances, or what is wrong, in which row and field.

A well-formed JSON body is decoded by one call of a decoder built for these very features (`fast`). What that refuses,
and every other form, is looked at row by row, so that a person learns the row and the field, and so that a contract
that answers row by row can answer the others. Entry points: `Signature` and `Instances`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from pipeline.errors import ModelError, RequestError
from pipeline.models.bundle import Feature
from pipeline.service.instances.json_bodies import cut, envelope
from pipeline.service.instances.wording import bad, explained, listed

KEYS = ("customer_id", "product_id")
LARGEST = float(np.finfo(np.float32).max)
"""Numbers beyond it are infinite to the model, so they are refused."""

Values = tuple[float | bool | str | None, ...]
"""One instance: a value for each feature, in the signature's order; None is missing."""
Complete = Callable[[str, str, Sequence[str]], tuple[str, Values]]
"""From customer, product and names of features to the week of the latest snapshot and their values there."""
_OR_A_SUBJECT = (
    "; or customer_id and product_id of a subject that was published, whose other features then come from its latest"
    " snapshot"
)


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

    @property
    def rows(self) -> int:
        """Rows of the request."""
        return len(self.values) + len(self.bad)


class Signature:
    """What a request must hold for a model.

    Parameters
    ----------
    features
        The model's, in order.

    Raises
    ------
    ModelError
        If a feature has a name that no field of JSON can have here.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in features)
        self._known = {*self.names, *KEYS}
        try:
            whole, self._partial = (_struct(self.features, required=required) for required in (True, False))
        except ValueError as error:
            raise ModelError(
                f"No request can name all of the model's features: {error}.",
                "names without double quotes, backslashes and control characters.",
                "give the columns of features.sql other names and train anew.",
            ) from None
        self._body = msgspec.json.Decoder(envelope("instances", whole))
        self._values = _getter([f"f{at}" for at in range(len(self.names))])
        self._keys = _getter(KEYS)

    def fast(self, body: bytes) -> Instances | None:
        """Return the instances of `{"instances": […]}`; None when there is anything to be looked at more closely."""
        try:
            rows = self._body.decode(body).instances
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None
        return Instances([*map(self._values, rows)], [*map(self._keys, rows)])

    def objects(
        self, rows: Iterable[Any], *, on_error_row: bool = False, complete: Complete | None = None
    ) -> Instances:
        """Return the instances of objects: `msgspec.Raw` JSON, or what it decodes to.

        Parameters
        ----------
        rows
            An object for each instance, its keys the names of features (all of them) and maybe customer_id, product_id.
        on_error_row
            Whether a bad row is noted and the others go on; else the first one is raised.
        complete
            What gives the features that an object with customer_id and product_id leaves out.

        Raises
        ------
        RequestError
            422 with the row and the field, for the first bad row.
        """
        return self._each(rows, lambda row: self._from_object(row, complete), on_error_row=on_error_row)

    def columns(
        self,
        names: Sequence[str] | None,
        rows: Iterable[Sequence[Any]],
        *,
        on_error_row: bool = False,
        complete: Complete | None = None,
    ) -> Instances:
        """Return the instances of rows that are lists of JSON values; `names` None is the signature's order."""
        names = self._checked_names(names, complete)

        def one(row: Any) -> tuple[Values, Any, str | None]:
            if not isinstance(row, list | tuple) or len(row) != len(names):
                raise bad(f"it has {_cells(row)}", f"{len(names)} values: {listed(names)}")
            return self._from_object(dict(zip(names, row, strict=True)), complete)

        return self._each(rows, one, on_error_row=on_error_row)

    def texts(
        self,
        names: Sequence[str] | None,
        rows: Iterable[Sequence[str] | RequestError],
        *,
        on_error_row: bool = False,
        complete: Complete | None = None,
    ) -> Instances:
        """Return the instances of rows of text, as CSV has them: an empty cell is missing; an error is a row unread."""
        names = self._checked_names(names, complete)
        kinds = {feature.name: feature.kind for feature in self.features}

        def one(row: Sequence[str]) -> tuple[Values, Any, str | None]:
            if len(row) != len(names):
                raise bad(f"it has {len(row)} cells", f"{len(names)}: {listed(names)}")
            cells = zip(names, row, strict=True)
            read = {name: number(cell, name) if kinds.get(name) == "number" else cell or None for name, cell in cells}
            return self._from_object(read, complete)

        return self._each(rows, one, on_error_row=on_error_row)

    def _each(
        self, rows: Iterable[Any], one: Callable[[Any], tuple[Values, Any, str | None]], *, on_error_row: bool
    ) -> Instances:
        found = Instances()
        alike: dict[tuple[str, str, str | None], RequestError] = {}
        for at, row in enumerate(rows):
            try:
                if isinstance(row, RequestError):  # it could not even be read as a row
                    raise row
                values, keys, week = one(row)
            except RequestError as error:
                if not on_error_row:
                    error.row = at
                    raise
                # Bad rows can be many and tiny: like ones share an error, and none keeps the frames it came through.
                error.__traceback__ = error.__context__ = None
                found.bad[at] = alike.setdefault((error.found, error.expected, error.field), error)
                continue
            if week is not None:
                found.weeks[len(found.values)] = week
            found.values.append(values)
            found.keys.append(keys)
        return found

    def _from_object(self, given: Any, complete: Complete | None) -> tuple[Values, Any, str | None]:
        try:
            if isinstance(given, msgspec.Raw):
                row = msgspec.json.decode(given, type=self._partial)
            else:
                row = msgspec.convert(given, self._partial)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise explained(error, [*self.names, *KEYS], self._wanted) from None
        values: tuple[Any, ...] = self._values(row)
        keys = self._keys(row)
        absent = [name for name, value in zip(self.names, values, strict=True) if value is msgspec.UNSET]
        if not absent:
            return values, keys, None
        if complete is None or None in keys:
            raise bad(
                f"the field {listed(absent)} is absent" if len(absent) == 1 else f"{listed(absent)} are absent",
                f"every feature, null where it is not known{_OR_A_SUBJECT if complete else ''}",
                absent[0],
            )
        customer_id, product_id = keys
        week, known = complete(customer_id, product_id, absent)
        try:
            filled = self._values(msgspec.convert(dict(zip(absent, known, strict=True)), self._partial))
        except msgspec.ValidationError as error:
            raise bad(
                f"the latest snapshot gives the subject what the model does not take: {cut(str(error))}",
                "a snapshot of the features that the model was trained on, or all features in the request",
            ) from None
        return tuple(f if v is msgspec.UNSET else v for v, f in zip(values, filled, strict=True)), keys, week

    def _wanted(self, name: str | None) -> str:
        kind = next((feature.kind for feature in self.features if feature.name == name), None)
        if kind == "number":
            return f"a number from {-LARGEST:.4g} to {LARGEST:.4g}, true, false or null"
        return "text or null" if name else "an object with a value for each feature"

    def _checked_names(self, names: Sequence[str] | None, complete: Complete | None) -> Sequence[str]:
        if names is None:
            return self.names
        unknown = [name for name in names if name not in self._known]
        twice = [name for name in self._known if list(names).count(name) > 1]
        absent = [] if complete else [name for name in self.names if name not in names]
        for wrong, what in ((unknown, "unknown"), (twice, "named twice"), (absent, "absent")):
            if wrong:
                raise RequestError(
                    422,
                    f"The columns {listed(wrong, 400)} are {what}.",
                    f"each of {listed(self.names, 400)} once, in any order, and maybe {' and '.join(KEYS)}.",
                    "send these columns only.",
                    field=cut(wrong[0]),
                )
        return names


def number(cell: str, name: str) -> float | bool | None:
    """Return a number that is text: empty is missing, true and false are themselves.

    Raises
    ------
    RequestError
        If it is none.
    """
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
    bounded = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
    kinds: dict[str, Any] = {"number": bounded | bool | None, "category": str | None}
    fields: list[Any] = []
    for at, feature in enumerate(features):
        kind = kinds[feature.kind]
        if required:
            fields.append((f"f{at}", kind, msgspec.field(name=feature.name)))
        else:
            fields.append((f"f{at}", kind | msgspec.UnsetType, msgspec.field(default=msgspec.UNSET, name=feature.name)))
    fields += [(key, str | None, None) for key in KEYS]
    return msgspec.defstruct("Instance", fields, forbid_unknown_fields=True, gc=False, kw_only=True)


def _getter(names: Sequence[str]) -> Callable[[Any], Any]:
    """Return what gets attributes as a tuple, of one too."""
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda row: (get(row),)


def _cells(row: Any) -> str:
    return f"{len(row)} values" if isinstance(row, list | tuple) else "no list of values"
