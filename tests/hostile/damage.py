"""Ways to damage a file of the landing zone: each function here returns a damage, to be called with the folder."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Damage = Callable[[Path], object]
"""Called with the landing zone."""


def nothing(_: Path) -> None:
    """Leave the landing zone as it is."""


def removed(name: str) -> Damage:
    """Take the file away."""
    return lambda landing: (landing / name).unlink()


def renamed(name: str, new: str) -> Damage:
    """Give the file another name."""
    return lambda landing: (landing / name).rename(landing / new)


def copied(name: str, over: str) -> Damage:
    """Deliver the file under another name too."""
    return lambda landing: (landing / over).write_bytes((landing / name).read_bytes())


def replaced(name: str, content: Callable[[], bytes]) -> Damage:
    """Put other bytes in the file's place."""
    return lambda landing: (landing / name).write_bytes(content())


def raw(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """Change the file's bytes as they lie there."""
    return lambda landing: (landing / name).write_bytes(change((landing / name).read_bytes()))


def text(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """Change the file's text, which may be compressed."""
    if name.endswith(".gz"):
        return raw(name, lambda content: gzip.compress(change(gzip.decompress(content)), mtime=0))
    return raw(name, change)


def lines(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    """Change the lines behind the header, or all lines of JSON Lines."""
    header = 0 if ".jsonl" in name else 1

    def changed(content: bytes) -> bytes:
        found = content.splitlines()
        return b"\n".join([*found[:header], *change(found[header:])]) + b"\n"

    return text(name, changed)


def more(name: str, *added: str | bytes) -> Damage:
    """Add lines to the file."""
    new = [line.encode() if isinstance(line, str) else line for line in added]
    return lines(name, lambda found: [*found, *new])


def columns(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    """Change each line's values, the header's too."""
    return text(
        name, lambda content: b"".join(b",".join(change(line.split(b","))) + b"\n" for line in content.splitlines())
    )


def table(name: str, change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Change the table in a Parquet file."""
    return lambda landing: pq.write_table(change(pq.read_table(landing / name)), landing / name)


def more_rows(name: str, *added: dict[str, object]) -> Damage:
    """Add rows to a Parquet file; a column that they do not have is null."""
    return table(name, lambda old: pa.concat_tables([old, pa.Table.from_pylist(list(added), old.schema)]))


def all_of(*damages: Damage) -> Damage:
    """Do several damages."""

    def done(landing: Path) -> None:
        for damage in damages:
            damage(landing)

    return done
