"""The flaws of real feeds, in rows and in the lines written from them.

Their frequencies are in `company`, as fractions of a file's rows. The file also has each broken line's complete
version, as if a writer was interrupted and began again, so the feed loses no information.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from examples.sample import company
from examples.sample.company import Ints


def with_duplicates(rng: np.random.Generator, table: pa.Table) -> pa.Table:
    """Return the table with some of its rows twice, one after the other."""
    again = _some(rng, table, company.DUPLICATE_FRACTION)
    return table.take(pa.array(np.sort(np.concatenate([np.arange(len(table)), again]))))


def with_impossible_minutes(rng: np.random.Generator, table: pa.Table) -> pa.Table:
    """Return the table of weekly use with some minutes that no week can have."""
    at = _some(rng, table, company.IMPOSSIBLE_FRACTION)
    minutes = table["minutes"].to_numpy().copy()
    minutes[at] = rng.choice(company.IMPOSSIBLE_MINUTES, at.size)
    return table.set_column(table.column_names.index("minutes"), "minutes", pa.array(minutes))


def torn_lines(rng: np.random.Generator, table: pa.Table, encode: Callable[[pa.Table], bytes]) -> bytes:
    """Return some of the table's lines, each cut off in the middle."""
    lines = encode(table.take(pa.array(_some(rng, table, company.TORN_FRACTION)))).splitlines()
    return b"".join(line[: len(line) // 2] + b"\n" for line in lines)


def mistyped_lines(rng: np.random.Generator, table: pa.Table, encode: Callable[[pa.Table], bytes]) -> bytes:
    """Return some of the CSV lines of weekly use, each with a letter among its minutes."""
    lines = encode(table.take(pa.array(_some(rng, table, company.MISTYPED_FRACTION)))).splitlines()
    at = table.column_names.index("minutes")
    fields = [line.split(b",") for line in lines]
    return b"".join(b",".join([*f[:at], f[at] + b"O", *f[at + 1 :]]) + b"\n" for f in fields)


def _some(rng: np.random.Generator, table: pa.Table, fraction: float) -> Ints:
    """Return distinct row numbers, on average `fraction` of the table's."""
    count = int(fraction * len(table) + rng.random())
    return np.sort(rng.choice(len(table), count, replace=False))
