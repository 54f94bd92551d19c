"""The files of the feed: which tables of a chunk go into which file, and with which flaws.

Customers and subscriptions are in one file each, events in one file a week. The entry point is `write_chunk`.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from examples.sample import flaws
from examples.sample.company import WEEK_SECONDS, Ints
from examples.sample.events import LivedWeek
from examples.sample.files import Files, csv_lines, json_lines
from examples.sample.life import live
from examples.sample.population import Chunk
from examples.sample.tables import ChunkTables
from pipeline.weeks import Week

_EARLIER = 1 << 21
"""Added to the week in a seed, so that flaws and events draw different numbers."""


def write_chunk(files: Files, chunk: Chunk, first: Week, weeks: int, seed: int) -> Iterator[LivedWeek]:
    """Append a chunk to the files, and yield each of its weeks."""
    tables = ChunkTables(chunk, first)
    files.write_parquet("customers.parquet", tables.customers(weeks))
    files.write_csv("subscriptions.csv.gz", tables.subscriptions(weeks))
    answers: list[pa.Table] = []
    received: list[Ints] = []
    for lived in live(chunk, weeks, seed, first):
        answers.append(tables.answers(lived.week, lived.answers))
        received.append(lived.answers.received // WEEK_SECONDS)
        if lived.week >= 0:
            rng = np.random.default_rng([seed, chunk.number, _EARLIER + lived.week])
            _write_week(files, tables, lived, first.plus(lived.week), rng)
        yield lived
    all_answers, arrival_week = pa.concat_tables(answers), np.concatenate(received)
    for week in range(weeks):
        rng = np.random.default_rng([seed, chunk.number, 2 * _EARLIER + week])
        arrived = all_answers.filter(pa.array(arrival_week == week))
        _write_lines(files, f"surveys/surveys-{first.plus(week)}.jsonl.gz", arrived, rng)


def _write_week(files: Files, tables: ChunkTables, lived: LivedWeek, week: Week, rng: np.random.Generator) -> None:
    usage = flaws.with_impossible_minutes(rng, tables.usage(lived.week, lived.usage))
    broken = flaws.torn_lines(rng, usage, csv_lines) + flaws.mistyped_lines(rng, usage, csv_lines)
    files.write_csv(f"usage/usage-{week}.csv.gz", flaws.with_duplicates(rng, usage), broken)
    deliveries = tables.deliveries(lived.week, lived.deliveries)
    files.write_parquet(f"deliveries/deliveries-{week}.parquet", flaws.with_duplicates(rng, deliveries))
    _write_lines(files, f"tickets/tickets-{week}.jsonl.gz", tables.tickets(lived.week, lived.tickets), rng)


def _write_lines(files: Files, name: str, table: pa.Table, rng: np.random.Generator) -> None:
    files.write_jsonl(name, flaws.with_duplicates(rng, table), flaws.torn_lines(rng, table, json_lines))
