"""Read, the second stage of a file's scoring: read the rows as text, cast them for the model, and write shards.

It uses the same readers and casts as a source and keeps the file's order. A row that cannot be read keeps its place,
with the reason and its text, and does not affect other rows. The file is streamed, so memory does not grow with it. The
entry point is `read_rows`.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.batch_jobs.file_access import fetch_file
from pipeline.batch_jobs.file_source import NAME, adapt_texts, declare_source
from pipeline.batch_jobs.job_handoffs import FileManifest, FilePlan, FileRows
from pipeline.duck import connection, quoted
from pipeline.errors import ConservationError, SourceError
from pipeline.files import sha256_of_file
from pipeline.manifests import KEYS, FeatureColumn, Shard
from pipeline.models.bundle import Feature, open_bundle
from pipeline.models.predictions import write
from pipeline.point_in_time.shards import GROUP_ROWS
from pipeline.point_in_time.snapshot import cast_for_model
from pipeline.settings import Settings, Source
from pipeline.sources.casts import RAW, REASON, cast_query
from pipeline.sources.formats import read_file
from pipeline.sources.texts import LINE, RECORDS, Texts

ROW = "__row"
"""A row's number in the file, from 0."""


def read_rows(settings: Settings, plan: FilePlan) -> FileRows:
    """Write the file's rows as shards into `rows/` of the job's folder; return where they are.

    Raises
    ------
    SourceError
        If the file is absent, too large, not of its format, or lacks a column.
    ConservationError
        If a row was lost, or the file is not the one that was handed in.
    """
    folder = plan.folder / "rows"
    shutil.rmtree(folder, ignore_errors=True)  # left by an earlier attempt
    features = _features(plan)
    columns = [FeatureColumn(name=feature.name, kind=feature.kind) for feature in features]
    with _rewording_errors(plan), fetch_file(settings, plan) as file:
        source = declare_source(plan, features)
        texts = adapt_texts(source, features, read_file(source, file, optional=frozenset(KEYS)))
        seen, shard_rows, schema = _Seen(), settings.resources.shard_rows, _schema(columns)
        rows = seen.numbered(_cast_rows(settings, source, columns, texts), schema, shard_rows)
        by_shard = groupby(rows, key=lambda batch: batch.column(ROW)[0].as_py() // shard_rows)
        shards = [_write_shard(folder, schema, shard, batches) for shard, batches in by_shard]
        shards = shards or [_write_shard(folder, schema, 0, [])]
    if seen.rows != texts.lines:
        raise _lost(f"{texts.lines} rows of the file became {seen.rows}")
    has = [key for key in KEYS if seen.filled[key]]
    manifest = FileManifest(columns=columns, rows=seen.rows, shards=shards, has=has, digest=file.digest)
    manifest.write(folder / "manifest.json")
    return FileRows(
        manifest=folder / "manifest.json",
        rows=seen.rows,
        unreadable=seen.filled[REASON],
        shards=len(shards),
        ignored_columns=texts.undeclared,
    )


def _features(plan: FilePlan) -> list[Feature]:
    """Return the features that the file must contain: the champion's and, in an A/B test, the challenger's."""
    bundles = [(plan.bundle, plan.bundle_digest)]
    if plan.routing.challenger is not None:
        bundles.append((plan.routing.challenger.bundle, plan.routing.challenger.bundle_digest))
    wanted = [feature for folder, digest in bundles for feature in open_bundle(folder, digest).features]
    return list({feature.name: feature for feature in reversed(wanted)}.values())[::-1]


@contextmanager
def _rewording_errors(plan: FilePlan) -> Iterator[None]:
    """Reword errors of a source as errors of the file, without its address."""
    try:
        yield
    except SourceError as error:
        if error.found.startswith("The file "):  # worded for a file already
            raise
        found = error.found.replace(f"Source {NAME}: {plan.uri}", "The file").replace(plan.uri, "the file")
        raise SourceError(found, error.expected, "correct the file and hand it in again.") from None


def _schema(columns: Sequence[FeatureColumn]) -> pa.Schema:
    kinds = {ROW: pa.int64(), LINE: pa.int64()} | dict.fromkeys((REASON, RAW, *KEYS), pa.string())
    kinds |= {column.name: pa.float32() if column.kind == "number" else pa.string() for column in columns}
    return pa.schema(kinds.items())


def _cast_rows(
    settings: Settings, source: Source, columns: Sequence[FeatureColumn], texts: Texts
) -> Iterator[pa.RecordBatch]:
    """Yield the cast rows in the file's order, with all columns of the schema except the row's number."""
    casts = [cast_for_model(column, "DOUBLE" if column.kind == "number" else "VARCHAR") for column in columns]
    selected = ", ".join([LINE, REASON, RAW, *map(quoted, KEYS), *casts])
    with connection(settings) as con:
        # Several threads would not keep the order, and they wait for the one that splits the records anyway.
        con.execute("SET threads = 1")
        texts.batches = (batch.sort_by(LINE) for batch in texts.batches)  # a batch of CSV ends with its rejects
        con.register(RECORDS, texts.reader())
        try:
            query = f"SELECT {selected} FROM ({cast_query(source, settings.zone, texts)})"
            yield from con.sql(query).to_arrow_reader(GROUP_ROWS)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # a stream's error can surface as any of these
            raise texts.error or SourceError(
                f"The file cannot be cast: {error}.",
                "values that can be written as text.",
                "correct the file and hand it in again.",
            ) from None


class _Seen:
    """Counts of the rows so far: how many there are, and how many have a value in some columns."""

    def __init__(self) -> None:
        self.rows = 0
        self.last_line = 0
        self.filled = dict.fromkeys((REASON, *KEYS), 0)

    def numbered(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, shard_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield the batches with their rows numbered, cut where a shard ends, and count them."""
        for batch in batches:
            lines = batch.column(LINE).to_numpy()
            if (np.diff(lines, prepend=self.last_line) <= 0).any():
                raise _lost("rows lost the file's order")
            self.last_line = int(lines[-1]) if lines.size else self.last_line
            for name in self.filled:
                self.filled[name] += batch.num_rows - batch.column(name).null_count
            numbers = pa.array(np.arange(self.rows, self.rows + batch.num_rows))
            rest = pa.RecordBatch.from_arrays([numbers, *batch.columns], names=[ROW, *batch.schema.names]).cast(schema)
            while rest.num_rows:
                part = rest.slice(0, shard_rows - self.rows % shard_rows)
                rest = rest.slice(part.num_rows)
                self.rows += part.num_rows
                yield part


def _write_shard(folder: Path, schema: pa.Schema, number: int, batches: Iterable[pa.RecordBatch]) -> Shard:
    path = folder / f"shard-{number:04d}.parquet"
    rows = write(path, schema, batches)
    return Shard(file=path.name, rows=rows, digest=sha256_of_file(path))


def _lost(what: str) -> ConservationError:
    return ConservationError(
        f"While the file was read, {what}.",
        "every row, once, in the file's order.",
        "clear the task; if it happens again, report it with the file.",
    )
