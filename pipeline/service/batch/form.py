"""The one file of a form (multipart/form-data), handed on as it comes; and the media types that say what a file is.

Stands behind `batch_upload`. The entry point is `FormReader`.
"""

from collections.abc import Callable
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipeline.batch_jobs.places import FORMATS, suffix_of
from pipeline.errors import RequestError
from pipeline.service.calls import Call

MEDIA_TYPES = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/jsonlines": "jsonl",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
}
"""Of files, and their formats."""
MOST_PARTS = 100
_LONGEST_BOUNDARY = 200


class FormReader:
    """Reads a form; of its parts only the file is kept.

    Parameters
    ----------
    call
        Its media type names the boundary.
    keep
        Given the file's content, piece by piece.

    Raises
    ------
    RequestError
        400 when the media type names no boundary.
    """

    def __init__(self, call: Call, keep: Callable[[bytes], None]) -> None:
        _, options = parse_options_header(call.fields.get(b"content-type", b""))
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= _LONGEST_BOUNDARY:
            raise _unreadable("it names no boundary")
        self._keep = keep
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._parts = 0
        self._in_file = self._is_whole = False
        self._suffix: str | None = None
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._see_headers,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, part: bytes) -> None:
        """Read a part of the body.

        Raises
        ------
        RequestError
            400 when it is no form, or has several files; 415 when it does not say what the file is.
        """
        try:
            self._parser.write(part)
        except FormParserError as error:
            raise _unreadable(str(error)[:80]) from None

    def end(self) -> str:
        """Return what the file is, as csv or csv.gz.

        Raises
        ------
        RequestError
            400 when the form is cut short or has no file.
        """
        if not self._is_whole or self._suffix is None:
            raise _unreadable("there is no file in it" if self._is_whole else "it ends too early")
        return self._suffix

    def _begin(self) -> None:
        self._headers, self._in_file = {}, False
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise _unreadable(f"it has more than {MOST_PARTS} parts")

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _see_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        filename = options.get(b"filename")
        if filename is None:
            return
        if self._suffix is not None:
            raise _unreadable("there are several files in it")
        media_type = self._headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        self._suffix = suffix_of(filename.decode("utf-8", "replace")) or MEDIA_TYPES.get(media_type)
        if self._suffix is None:
            raise RequestError(
                415,
                "Neither the file's name nor its media type says what it is.",
                f"a name in .{', .'.join(FORMATS)} (each also with .gz), or one of {', '.join(MEDIA_TYPES)}.",
                "name the file so.",
            )
        self._in_file = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._keep(data[start:end])

    def _end(self) -> None:
        self._is_whole = True


def _unreadable(what: str) -> RequestError:
    return RequestError(
        400,
        f"The form cannot be read: {what}.",
        "multipart/form-data with one file.",
        "send it as curl -F file=@rows.csv does.",
    )
