r"""The bytes of a text file as clean UTF-8: decompressed, bounded, without a byte-order mark.

Bytes that are not text (not UTF-8, or NUL, which PostgreSQL cannot store) do not stop the file. Each is written as
`\xNN` after the mark `MARK`, and `casts` rejects the values that hold a mark. The entry points are `blocks`, and
`original` for the way back.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import SourceError

MARK = "\ufdd0"
"""Precedes a byte that was not text. It is a noncharacter of Unicode, so text never holds it."""
NUL = MARK + r"\x00"
"""A marked NUL."""
BLOCK_BYTES = 1 << 20
GZIP_RATIO = 250
GZIP_FREE_BYTES = 64 << 20
"""A gzip file may hold this many bytes, or `GZIP_RATIO` times its own size: text compresses five- to fifty-fold."""

_FOREIGN = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x1f\x8b": "gzip data (its name must then end in .gz)",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": "a Parquet file (its name must then end in .parquet)",
}


def blocks(context: str, path: Path, *, gzipped: bool) -> Iterator[bytes]:
    """Yield the file's text in blocks of about `BLOCK_BYTES`. `context` names source and file in errors."""
    decoder = codecs.getincrementaldecoder("utf-8")("barometer-mark")
    raw = decompressed(context, path) if gzipped else _plain(context, path)
    first = True
    for block in raw:
        if first:
            _refuse_foreign(context, block)
            block = block.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901
            first = False
        clean = _clean(decoder, block)
        if clean:
            yield clean
    rest = decoder.decode(b"", final=True)
    if rest:
        yield rest.encode()


def _plain(context: str, path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise _damaged(context, str(error.strerror)) from None


def decompressed(context: str, path: Path) -> Iterator[bytes]:
    """Yield the content of a gzip file in blocks."""
    size_bytes, read_bytes = path.stat().st_size, 0
    bound = max(GZIP_FREE_BYTES, GZIP_RATIO * size_bytes)
    if size_bytes == 0:  # Python takes this for a whole file
        raise _damaged(context, "it is empty")
    try:
        with gzip.open(path) as file:
            while block := file.read(BLOCK_BYTES):
                read_bytes += len(block)
                if read_bytes > bound:
                    raise SourceError(
                        f"{context} unpacks to more than {bound >> 20} MiB.",
                        f"at most {GZIP_RATIO} times the size of the compressed file.",
                        "check what was delivered; if it is right, deliver it uncompressed.",
                    )
                yield block
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(context, str(error)) from None


def _damaged(context: str, problem: str) -> SourceError:
    return SourceError(
        f"{context} cannot be read to its end: {problem}.",
        "a whole file.",
        "deliver the file again and run the week again.",
    )


def _refuse_foreign(context: str, block: bytes) -> None:
    kind = next((kind for magic, kind in _FOREIGN.items() if block.startswith(magic)), None)
    if kind is None and b"\0" in block[1:4:2]:
        kind = "UTF-16 text without a byte-order mark"
    if kind is not None:
        raise SourceError(
            f"{context} looks like {kind}.",
            "plain text in UTF-8.",
            "convert the file, or correct its name, and run the week again.",
        )


def _clean(decoder: codecs.IncrementalDecoder, block: bytes) -> bytes:
    if block.isascii() and not decoder.getstate()[0] and b"\0" not in block:
        return block
    text = decoder.decode(block)
    if "\0" in text:
        text = text.replace("\0", NUL)
    return text.encode()


def original(text: str) -> bytes:
    """Return the bytes that a marked text was made from."""
    return _MARKED.sub(lambda marked: bytes.fromhex(marked[1].decode()), text.encode())


_MARKED = re.compile(MARK.encode() + rb"\\x([0-9a-f]{2})")


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    return "".join(f"{MARK}\\x{byte:02x}" for byte in bad), error.end


codecs.register_error("barometer-mark", _mark)
