"""Rows to instances, one by one: objects, lists of values, cells of text, whole frames. The entry point is `Reader`."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from pipeline.errors import RequestError
from pipeline.manifests import KEYS
from pipeline.service.instances.bodies import decode
from pipeline.service.instances.signature import LARGEST, Complete, Instances, Signature, limited, not_empty, number
from pipeline.service.instances.wording import bad, cut, join

_One = tuple[tuple[Any, ...], tuple[str | None, str | None], str | None]
"""An instance: its values, its keys, and the week of the snapshot that completed it."""


class Frame(msgspec.Struct):
    """A frame as pandas splits it (`orient="split"`); its index means nothing to a model."""

    data: list[msgspec.Raw]
    columns: list[str] | None = None
    """None: the rows are objects, or lists in the signature's order."""
    index: list[Any] | None = None


Rows = list[msgspec.Raw]
Columns = dict[str, list[Any]]
"""Columns by name, all of one length."""
Absent = msgspec.UnsetType
JSON_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
"""Words for the kinds of JSON, by msgspec's names."""
OR_KEYS = "; or the customer_id and product_id of a published subject, whose latest snapshot then gives the others"
IGNORED = frozenset({"params", "parameters"})
"""Fields that a body may have beside its rows; there is nothing that they could set."""


@dataclass(frozen=True)
class Reader:
    """Makes instances of the rows of one request.

    Each of its methods raises a `RequestError`: 413 for too many rows; 422 for none, for columns that are not the
    model's, and for the first bad row, with row and field, unless bad rows are noted.
    """

    signature: Signature
    most_rows: int = sys.maxsize
    on_error_row: bool = False
    """Whether a bad row is noted in its place, and the others go on."""
    complete: Complete | None = None
    """What gives the features that an instance with customer_id and product_id leaves out."""

    def fast(self, body: bytes) -> Instances | None:
        """Return the instances of a body as `Signature.fast` does."""
        return self.signature.fast(body, self.most_rows)

    def objects(self, rows: Iterable[Any]) -> Instances:
        """Return the instances of objects: `msgspec.Raw` JSON, what it decodes to, or an error in a row's place."""
        return self._each(rows, self._from_object)

    def records(self, rows: Iterable[Any]) -> Instances:
        """Return the instances of rows of JSON, each an object or a list of values in the signature's order."""
        return self._each(rows, self._from_record)

    def columns(self, names: Sequence[str] | None, rows: Iterable[Any]) -> Instances:
        """Return the instances of rows that are lists of JSON values; `names` None is the signature's order."""
        return self._each(rows, partial(self._from_list, self._checked(names)))

    def texts(self, names: Sequence[str] | None, rows: Iterable[Sequence[str] | RequestError]) -> Instances:
        """Return the instances of rows of text, as CSV has them: an empty cell is missing."""
        return self._each(rows, partial(self._from_texts, self._checked(names)))

    def json(self, body: bytes, kind: type[msgspec.Struct]) -> Instances:
        """Return the instances of a JSON object; each field of `kind` may hold its rows, and exactly one has to."""
        if (plain := self.fast(body)) is not None:
            return plain
        given = decode(body, kind)
        names = [name for name in kind.__struct_fields__ if name not in IGNORED]
        found = [name for name in names if getattr(given, name) is not msgspec.UNSET]
        if len(found) != 1:
            what = f"The body has {' and '.join(found) or 'none'} of the fields that hold rows."
            raise RequestError(422, what, f"exactly one of {', '.join(names)}.", "send the rows in one of them.")
        rows = getattr(given, found[0])
        if isinstance(rows, dict):
            if len({len(cells) for cells in rows.values()}) > 1:
                what, do = "The columns have different lengths.", "send columns of one length, null for missing values."
                raise RequestError(422, what, "a value in each column for every row.", do)
            return self.columns([*rows], list(zip(*rows.values(), strict=True)))
        if isinstance(rows, Frame) and rows.columns is not None:
            return self.columns(rows.columns, rows.data)
        return self.records(rows.data if isinstance(rows, Frame) else rows)

    def _each(self, rows: Iterable[Any], read: Callable[[Any], _One]) -> Instances:
        if isinstance(rows, Sized):
            limited(rows, self.most_rows)
        found = Instances()
        alike: dict[tuple[str, str, str | None], RequestError] = {}
        for at, row in enumerate(rows):
            try:
                if isinstance(row, RequestError):  # it could not even be read as a row
                    raise row
                values, keys, week = read(row)
            except RequestError as error:
                if not self.on_error_row:
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
        return not_empty(found)

    def _from_record(self, row: msgspec.Raw) -> _One:
        values = _decoded(row) if bytes(row).lstrip().startswith(b"[") else None
        if isinstance(values, list):
            return self._from_list(self.signature.names, values)
        return self._from_object(row)  # broken JSON too, which is explained there

    def _from_list(self, names: Sequence[str], row: Any) -> _One:
        values = _decoded(row) if isinstance(row, msgspec.Raw) else row
        if not isinstance(values, list | tuple) or len(values) != len(names):
            is_what = f"there are {len(values)} values" if isinstance(values, list | tuple) else "there is no list"
            raise bad(is_what, f"{len(names)} values: {join(names)}")
        return self._from_object(dict(zip(names, values, strict=True)))

    def _from_texts(self, names: Sequence[str], row: Sequence[str]) -> _One:
        if len(row) != len(names):
            raise bad(f"there are {len(row)} cells", f"{len(names)}: {join(names)}")
        kinds, cells = self.signature.kinds, zip(names, row, strict=True)
        return self._from_object(
            {name: number(cell, name) if kinds.get(name) == "number" else cell or None for name, cell in cells}
        )

    def _from_object(self, row: Any) -> _One:
        try:
            if isinstance(row, msgspec.Raw):
                given = msgspec.json.decode(row, type=self.signature.partial)
            else:
                given = msgspec.convert(row, self.signature.partial)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self._explained(error) from None
        values, keys = self.signature.values_of(given), self.signature.keys_of(given)
        return self._completed(values, keys) if msgspec.UNSET in values else (values, keys, None)

    def _explained(self, error: Exception) -> RequestError:
        """Return msgspec's error about an instance in plain words, with the field."""
        said = str(error)
        if unknown := re.search(r"unknown field `(.*)`", said, re.DOTALL):
            name = cut(unknown[1])
            return bad(f"it has the unknown field {name!r}", f"only {join([*self.signature.names, *KEYS])}", name)
        at, got = re.search(r" - at `\$\.(.*)`$", said, re.DOTALL), re.search(r"got `(\w+)`", said)
        is_what = f"is {JSON_KINDS.get(got[1], got[1])}" if got else "is out of range" if at else cut(said)
        if not at or not at[1]:
            return bad(f"the row itself {is_what}", "an object with a value for each feature", at and at[1])
        is_number = self.signature.kinds.get(at[1]) == "number"
        numbers = f"a number from {-LARGEST:.4g} to {LARGEST:.4g}, true, false or null"
        return bad(f"{at[1]!r} {is_what}", numbers if is_number else "text or null", at[1])

    def _completed(self, values: Sequence[Any], keys: tuple[str | None, str | None]) -> _One:
        """Return an instance with the features that it leaves out."""
        absent = [name for name, value in zip(self.signature.names, values, strict=True) if value is msgspec.UNSET]
        customer_id, product_id = keys
        if self.complete is None or customer_id is None or product_id is None:
            found = f"the field {join(absent)} is absent" if len(absent) == 1 else f"{join(absent)} are absent"
            raise bad(found, f"every feature, null where it is not known{OR_KEYS if self.complete else ''}", absent[0])
        week, known = self.complete(customer_id, product_id, absent)
        try:
            filled = msgspec.convert(dict(zip(absent, known, strict=True)), self.signature.partial)
        except msgspec.ValidationError as error:
            found = f"the latest snapshot gives the subject what the model does not take: {cut(str(error))}"
            raise bad(found, "a snapshot of the model's own features, or all features in the request") from None
        pairs = zip(values, self.signature.values_of(filled), strict=True)
        return tuple(known if value is msgspec.UNSET else value for value, known in pairs), keys, week

    def _checked(self, names: Sequence[str] | None) -> Sequence[str]:
        """Return the names of columns, if they are the model's."""
        if names is None:
            return self.signature.names
        known = dict.fromkeys([*self.signature.names, *KEYS])
        unknown = [name for name in names if name not in known]
        twice = [name for name in known if list(names).count(name) > 1]
        absent = [] if self.complete else [name for name in self.signature.names if name not in names]
        for wrong, what in ((unknown, "unknown"), (twice, "named twice"), (absent, "absent")):
            if wrong:
                found, do = f"The columns {join(wrong, 400)} are {what}.", "send these columns only."
                expected = (
                    f"each of {join(self.signature.names, 400)} once, in any order, and maybe {' and '.join(KEYS)}."
                )
                raise RequestError(422, found, expected, do, field=cut(wrong[0]))
        return names


def _decoded(row: msgspec.Raw) -> Any:
    """Return a row's value; None if it is not JSON."""
    for decoder in (msgspec.json.decode, _decode_infinite):
        with suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return decoder(row)
    return None


_decode_infinite = msgspec.json.Decoder(float_hook=float).decode
"""Takes a number beyond any float for infinite, so that the error says which field is out of range."""
