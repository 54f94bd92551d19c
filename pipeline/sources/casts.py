"""Casts a source's texts to their declared types, with a reason for every value that does not fit, in one SQL query.

Comes after the readers of the formats. DuckDB's own casts are lenient: `225.5` becomes the integer 226, a date becomes
midnight, a time loses its zone. So the form of a text is checked first. The entry point is `cast_query`.

=============  ==================================================================================================
text           kept as it is; a value that is not UTF-8, or holds NUL (except in `texts.with_nul`), is a reject
integer        64 bits; `225.0` is 225, `225.5` and `1e3` are rejects
number         64-bit float; NaN and infinities are rejects
decimal(p,s)   exact; more than s digits after the point are a reject (floats of Parquet or SQL are rounded)
boolean        true, t, yes, 1, false, f, no, 0 in any case
date           YYYY-MM-DD, or `date_format`; midnight may follow
timestamp      an instant: ISO 8601 with an offset, or without one in the source's zone, or `timestamp_format`; a
               local time that a clock change skips or repeats is a reject
=============  ==================================================================================================

Spaces around a value are ignored, except in text. The words in `null_values` are NULL, in every format. Numbers have
the source's separators in CSV (`1.234,50`) and none in JSON (`1234.50`).
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pipeline.duck import literal, quoted
from pipeline.settings import Source
from pipeline.sources.stream import MARK, NUL
from pipeline.sources.texts import LINE, Texts

REASON = "__reason"
RAW = "__raw"
VERSION = 3
"""Raise it when a text may be cast differently, or more is kept. All files are then read again."""

_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_ISO_MIDNIGHT = _ISO_DATE + r"([ T]00:00(:00(\.0+)?)?)?"
_ISO_LOCAL = _ISO_DATE + r"[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_ISO_COMPACT = _ISO_LOCAL + r"(Z|[+-]\d{2}(:?\d{2})?)"
"""The usual form, for which nothing has to be trimmed or replaced."""
_ISO_ZONED = _ISO_LOCAL + r" ?(Z|UTC|[+-]\d{2}(:?\d{2})?)"


def cast_query(source: Source, zone: ZoneInfo, texts: Texts) -> str:
    """Return the query for the declared columns, `__line`, `__reason` and `__raw`.

    `__reason` and `__raw` (the record as text, with its marks) are NULL in a good row.
    """
    names = list(source.columns)
    casts = [_Cast(source, zone, texts, name, index) for index, name in enumerate(names)]
    text = ", ".join(f"{cast.null_aware(texts.columns[cast.name])} AS {cast.text}" for cast in casts)
    local = "".join(f", {cast.local()} AS {cast.local_result}" for cast in casts if cast.local())
    value = ", ".join(f"{cast.value()} AS {cast.result}" for cast in casts)
    reasons = ", ".join(cast.reason() for cast in casts)
    result = ", ".join(f"{cast.result} AS {quoted(cast.name)}" for cast in casts)
    raw = f"replace({texts.raw}, chr(0), {literal(NUL)})"
    return f"""
        SELECT {result}, {LINE}, {REASON}, CASE WHEN {REASON} IS NOT NULL THEN {raw} END AS {RAW}
        FROM (SELECT *, nullif(concat_ws('; ', {texts.structure}, {reasons}), '') AS {REASON}
        FROM (SELECT *, {value}
        FROM (SELECT *{local}
        FROM (SELECT *, {text}
        FROM {texts.relation}))))
    """


class _Cast:
    """The expressions of one column."""

    def __init__(self, source: Source, zone: ZoneInfo, texts: Texts, name: str, index: int) -> None:
        self.name = name
        self.text, self.local_result, self.result = f"__text{index}", f"__local{index}", f"__value{index}"
        self._source, self._zone, self._texts = source, zone, texts
        self._type = source.columns[name].type
        self._is_typed, self._is_exact = name in texts.typed, name in texts.exact
        self._date_format = None if self._is_typed else source.date_format
        self._timestamp_format = None if self._is_typed else source.timestamp_format

    def null_aware(self, text: str) -> str:
        nulls = "" if self._is_exact else ", ".join(map(literal, self._source.null_values))
        return f"CASE WHEN {text} IN ({nulls}) THEN NULL ELSE {text} END" if nulls else text

    def value(self) -> str:
        if self._is_exact:
            return self._exact()
        return getattr(self, "_" + self._type.split("(")[0])()  # type: ignore[no-any-return]

    def reason(self) -> str:
        """Return the expression of what is wrong with the value; NULL if nothing is."""
        text = f"CAST({self.text} AS VARCHAR)"
        shortened = f"CASE WHEN length({text}) > 40 THEN left({text}, 40) || '…' ELSE {text} END"
        shown = f"replace(replace({shortened}, {literal(MARK)}, ''), chr(0), '\\x00')"
        kind = {"text": "text in UTF-8", "integer": "an integer"}.get(self._type, f"a {self._type}")
        what = literal(f"is not {kind}")
        if self.local():
            skipped = literal(f"is skipped or repeated by a clock change in {self._zone.key}")
            what = f"CASE WHEN {self.local_result} IS NOT NULL THEN {skipped} ELSE {what} END"
        bad = f"{self.text} IS NOT NULL AND {self.result} IS NULL"
        return f"CASE WHEN {bad} THEN {literal(f'{self.name}: ')} || '''' || {shown} || ''' ' || {what} END"

    def _exact(self) -> str:
        """Return the value of a column that has its type; like a text's, a year has four digits."""
        if self._type in {"integer", "boolean"}:
            return f"TRY_CAST({self.text} AS {'BIGINT' if self._type == 'integer' else 'BOOLEAN'})"
        return f"CASE WHEN {self.text} >= DATE '0001-01-01' AND {self.text} < DATE '10000-01-01' THEN {self.text} END"

    def _text(self) -> str:
        text, is_bad = self.text, f"contains({self.text}, chr(0)) OR "
        if self.name in self._texts.with_nul:
            text, is_bad = f"replace({self.text}, {literal(NUL)}, chr(0))", ""
        return f"CASE WHEN {is_bad}contains({text}, {literal(MARK)}) THEN NULL ELSE {text} END"

    def _integer(self) -> str:
        return self._when(r"[+-]?\d+(\.0*)?", f"TRY_CAST({self._plain()} AS BIGINT)", self._plain())

    def _number(self) -> str:
        number = f"TRY_CAST({self._plain()} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) AND NOT contains({self.text}, '_') THEN {number} END"

    def _decimal(self) -> str:
        number = f"TRY_CAST({self._plain()} AS {self._type})"
        scale = int(re.findall(r"\d+", self._type)[1])
        bare_fraction = rf"|\.\d{{1,{scale}}}" if scale else ""
        pattern = rf"[+-]?(\d+\.?\d{{0,{scale}}}{bare_fraction})0*"
        return number if self._is_typed else self._when(pattern, number, self._plain())

    def _plain(self) -> str:
        """Return the expression of a number's text as `1234.5`; NULL if a separator is in the wrong place."""
        decimal, thousands = self._texts.separators
        if (decimal, thousands) == (".", ""):
            return self.text
        groups = rf"\d{{1,3}}({re.escape(thousands)}\d{{3}})+|" if thousands else ""
        pattern = rf"[+-]?({groups}\d*)({re.escape(decimal)}\d*)?([eE][+-]?\d+)?"
        joined = f"replace({self.text}, {literal(thousands)}, '')" if thousands else self.text
        return self._when(pattern, f"replace({joined}, {literal(decimal)}, '.')")

    def _boolean(self) -> str:
        text = f"lower(trim({self.text}))"
        return (
            f"CASE WHEN {text} IN ('true', 't', 'yes', '1') THEN true "
            f"WHEN {text} IN ('false', 'f', 'no', '0') THEN false END"
        )

    def _date(self) -> str:
        if self._date_format:
            return f"CAST(try_strptime({self.text}, {literal(self._date_format)}) AS DATE)"
        with_time = self._when(_ISO_MIDNIGHT, f"TRY_CAST(left(trim({self.text}), 10) AS DATE)")
        is_day = f"regexp_full_match({self.text}, {literal(_ISO_DATE)})"
        return f"CASE WHEN {is_day} THEN TRY_CAST({self.text} AS DATE) ELSE {with_time} END"

    def local(self) -> str | None:
        """Return the expression of a timestamp without an offset; None if the column can have none."""
        if self._type != "timestamp" or self._is_format_zoned() or self._is_exact:
            return None
        if self._timestamp_format:
            return f"try_strptime({self.text}, {literal(self._timestamp_format)})"
        is_local = f"NOT suffix({self.text}, 'Z') AND {self._matches(_ISO_LOCAL)}"
        return f"CASE WHEN {is_local} THEN TRY_CAST({self.text} AS TIMESTAMP) END"

    def _timestamp(self) -> str:
        if self._is_format_zoned():
            return f"try_strptime({self.text}, {literal(self._timestamp_format or '')})"
        local = f"timezone({literal(self._zone.key)}, {self.local_result})"
        if self._zone.key == "UTC":  # without the calendar, which takes as long as all the rest
            local = f"make_timestamptz(epoch_us({self.local_result}))"
        if changes := clock_changes(self._zone):
            days = ", ".join(sorted({f"DATE '{bound.date()}'" for bound in changes}))
            bounds = ", ".join(f"'{bound}'" for bound in changes)
            passed = f"list_filter(CAST([{bounds}] AS TIMESTAMP[]), lambda bound: bound <= {self.local_result})"
            is_changing = f"CAST({self.local_result} AS DATE) IN ({days}) AND len({passed}) % 2 = 1"
            local = f"CASE WHEN {is_changing} THEN NULL ELSE {local} END"
        if self._timestamp_format:
            return local
        zoned = self.text
        for found, wanted in ((" UTC", "Z"), (" Z", "Z"), (" +", "+"), (" -", "-")):
            zoned = f"replace({zoned}, '{found}', '{wanted}')"
        return (
            f"CASE WHEN {self.local_result} IS NOT NULL THEN {local} "
            f"WHEN regexp_full_match({self.text}, {literal(_ISO_COMPACT)}) THEN TRY_CAST({self.text} AS TIMESTAMPTZ) "
            f"WHEN {self._matches(_ISO_ZONED)} THEN TRY_CAST(trim({zoned}) AS TIMESTAMPTZ) END"
        )

    def _is_format_zoned(self) -> bool:
        return re.search("%z|%Z", self._timestamp_format or "") is not None

    def _when(self, pattern: str, value: str, text: str | None = None) -> str:
        return f"CASE WHEN {self._matches(pattern, text)} THEN {value} END"

    def _matches(self, pattern: str, text: str | None = None) -> str:
        spaced = rf"\s*({pattern})\s*"
        return f"regexp_full_match({text or self.text}, {literal(spaced)})"


@lru_cache
def clock_changes(zone: ZoneInfo) -> list[datetime]:
    """Return the bounds of the spans of local time that clock changes skip or repeat: start, end, start, end.

    A span includes its start, not its end, and no two overlap. Covers 1970 to 2099. DuckDB alone decides about times
    before and after that.
    """
    bounds = []
    before, end = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    while before < end:
        after = before + timedelta(days=1)
        if _offset(before, zone) != _offset(after, zone):
            change = _change(before, after, zone)
            bounds += [change + offset for offset in sorted((_offset(before, zone), _offset(after, zone)))]
        before = after
    return bounds


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of the change between the two, in UTC without zone."""
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) // 2).replace(microsecond=0)
        if _offset(middle, zone) == _offset(before, zone):
            before = middle
        else:
            after = middle
    return after.replace(tzinfo=None)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
