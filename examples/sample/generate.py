"""Makes the sample company's feed: the landing zone with which `make run` begins.

The same arguments give the same bytes. A longer sample from the same first week has the same weekly files and more, and
more rows in the other files (customers, subscriptions). Memory does not grow with the number of customers. The entry
points are `generate`, `ensure` (the default sample, kept up to date) and `true_probabilities`.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa

from examples.sample.feed import write_chunk
from examples.sample.files import Files
from examples.sample.life import live
from examples.sample.population import CHUNK_CUSTOMERS, draw_chunk
from examples.sample.summary import SampleSummary, Tally
from examples.sample.tables import ChunkTables, products
from pipeline.errors import ConfigError
from pipeline.files import write_text
from pipeline.weeks import Week

DEFAULT_CUSTOMERS = 6_000
DEFAULT_WEEKS = 26
DEFAULT_SEED = 7
MOST_WEEKS = 200
"""Four files of each week are open at a time, and a process can usually open 1,024."""
RECORD = "sample.json"
"""The record of the sample's arguments, written last. The pipeline does not read it."""


def generate(
    out: Path,
    customers: int,
    weeks: int,
    seed: int,
    end: Week,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> SampleSummary:
    """Write the feed of the `weeks` weeks that end with `end` to the folder `out`.

    Parameters
    ----------
    out
        The landing zone: absent, empty, or a sample, which is replaced.
    customers
        All customers over time; each has about 1.25 active subscriptions at any time.
    weeks, seed, end
        The number of weeks, the seed, and the last week.
    on_progress
        Called with the number of customers written so far and in total.

    Raises
    ------
    ConfigError
        If `out` contains files that are not a sample, or a number is out of range.
    """
    _check(out, customers, weeks, seed)
    first = end.plus(1 - weeks)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".sample-") as name:
        staged = Path(name)
        tally = Tally(weeks)
        with Files(staged) as files:
            files.write_csv("products.csv", products())
            for number in range(-(-customers // CHUNK_CUSTOMERS)):
                chunk = draw_chunk(number, customers, seed)
                for lived in write_chunk(files, chunk, first, weeks, seed):
                    tally.add(lived)
                if on_progress:
                    on_progress(min((number + 1) * CHUNK_CUSTOMERS, customers), customers)
        record = {"customers": customers, "weeks": weeks, "seed": seed, "first_week": str(first)}
        write_text(staged / RECORD, json.dumps(record, indent=1) + "\n")
        _install(staged, out)
    return tally.summary(out, customers=customers, first=first, rows=dict(files.rows))


def ensure(out: Path, now: datetime) -> SampleSummary | None:
    """Make the default sample if `out` is absent or empty; extend a sample that lacks the latest complete week.

    Returns None if there is nothing to do: the sample is up to date, or `out` contains a company's own files.
    """
    end = Week.last_complete(now, ZoneInfo("UTC"))
    if not out.exists() or not any(out.iterdir()):
        return generate(out, DEFAULT_CUSTOMERS, DEFAULT_WEEKS, DEFAULT_SEED, end)
    if not (out / RECORD).exists():
        return None
    customers, weeks, seed, first = _record(out)
    missing = (end.monday - first.monday).days // 7 + 1 - weeks
    return generate(out, customers, weeks + missing, seed, end) if missing > 0 else None


def true_probabilities(out: Path, week: Week) -> Iterator[pa.Table]:
    """Yield each active subject's true probability of being satisfied in `week`, which the feed does not contain.

    Returns tables of customer_id (text), product_id (text), probability (float64), one for each chunk.
    """
    customers, _, seed, first = _record(out)
    weeks = (week.monday - first.monday).days // 7 + 1
    for number in range(-(-customers // CHUNK_CUSTOMERS)):
        chunk = draw_chunk(number, customers, seed)
        *_, lived = live(chunk, weeks, seed, first)
        yield ChunkTables(chunk, first).keyed(lived.active, probability=lived.probability)


def _record(out: Path) -> tuple[int, int, int, Week]:
    record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    return record["customers"], record["weeks"], record["seed"], Week.parse(record["first_week"])


def _check(out: Path, customers: int, weeks: int, seed: int) -> None:
    if customers < 1 or not 1 <= weeks <= MOST_WEEKS or seed < 0:
        raise ConfigError(
            f"The sample would have {customers} customers, {weeks} weeks and the seed {seed}.",
            f"at least one customer, 1 to {MOST_WEEKS} weeks, and a seed of 0 or more.",
            "give other numbers.",
        )
    if out.exists() and any(out.iterdir()) and not (out / RECORD).exists():
        raise ConfigError(
            f"The folder {out} contains files that are not a sample.",
            "a folder that is absent, is empty, or contains an earlier sample.",
            "name another folder; nothing was changed.",
        )


def _install(staged: Path, out: Path) -> None:
    """Move each file into place, the record last, and remove files of the earlier sample.

    If the process is killed before the end, the old record remains, so the next call makes the sample again.
    """
    names = sorted(path.relative_to(staged) for path in staged.rglob("*") if path.is_file())
    for name in sorted(names, key=lambda name: name == Path(RECORD)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(out / name)
    for path in [path for path in out.rglob("*") if path.is_file() and path.relative_to(out) not in names]:
        path.unlink()
