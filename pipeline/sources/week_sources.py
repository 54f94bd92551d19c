"""Read a week's sources: every file once, every line accounted for.

A file is read into `ingested/<source>/<file digest>-<declaration digest>.parquet` under the home:
good rows with their declared columns, and rejects in full, with line and reason. A rerun, a
backfill or a training with the same bytes and the same declaration uses that file again. Entry
points: `read_sources` for a week, `read_past_sources` and `together` for several past ones, `first_reasons`.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow.parquet as pq

from pipeline.duck import connection, literal, parquet
from pipeline.errors import ConservationError, SourceError
from pipeline.files import sha256_of_text, written_atomically
from pipeline.manifests import SourceFile, SourceRead, SourcesManifest
from pipeline.settings import Settings
from pipeline.sources import casts
from pipeline.sources.database import Digest, database_uri, read_database
from pipeline.sources.formats import read_file
from pipeline.sources.landing import Located, fetched, format_of, is_gzip, locate
from pipeline.sources.texts import RECORDS, Texts
from pipeline.weeks import Week

FILES_AT_ONCE = 2
HOW_READ = {
    "delimiter", "null_values", "timestamp_format", "date_format", "decimal_separator", "thousands_separator",
}  # fmt: skip
"""Settings of a source that decide, besides its columns, how bytes are read."""
NAMED_REJECTS = 3
"""An error message quotes at most this many rejects."""


def read_sources(settings: Settings, week: Week) -> SourcesManifest:
    """Read the week's sources, without the warehouse. A file that was read before is not read again.

    Returns
    -------
    SourcesManifest
        With `new_rejects` 0: only the warehouse knows which rejects are new (`pipeline.weekly.ingest`).

    Raises
    ------
    SourceError
        If a source is absent, unreadable or not as declared.
    """
    files = {
        name: locate(settings, name, week) if source.path is not None else [None]
        for name, source in settings.sources.items()
    }
    with connection(settings) as con, ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        read = {
            name: [pool.submit(_read, settings, con, name, located) for located in found]
            for name, found in files.items()
        }
        try:
            done = {name: [future.result() for future in futures] for name, futures in read.items()}
        finally:
            pool.shutdown(cancel_futures=True)
    return SourcesManifest(
        week=str(week),
        sources={
            name: SourceRead(
                files=[file for file, _ in ingested],
                new_rejects=0,
                timeless=settings.sources[name].event_time is None and settings.sources[name].arrived_at is None,
                undeclared_columns=sorted({column for _, undeclared in ingested for column in undeclared}),
            )
            for name, ingested in done.items()
        },
    )


def _read(
    settings: Settings, con: duckdb.DuckDBPyConnection, name: str, located: Located | None
) -> tuple[SourceFile, list[str]]:
    """Read a file, or with None the source's table or query; return it and its undeclared columns."""
    if located is None:
        return _read_database(settings, con, name)
    with fetched(settings, located) as file:
        declaration = _declaration(settings, name, located.uri)
        target = settings.home / "ingested" / name / f"{file.digest}-{declaration}.parquet"
        if not target.exists():
            with written_atomically(target) as temporary:
                texts = read_file(settings.sources[name], file)
                _write(con, _query(settings, name, texts), texts, f"Source {name}: {located.uri}", temporary)
    ingested, undeclared = _ingested(located.uri, file.size_bytes, file.digest, declaration, target)
    return ingested.model_copy(update={"week": located.week and str(located.week)}), undeclared


def _read_database(settings: Settings, con: duckdb.DuckDBPyConnection, name: str) -> tuple[SourceFile, list[str]]:
    source = settings.sources[name]
    uri = database_uri(name, source)
    digest = Digest()
    part = settings.home / "ingested" / name / f".tmp-{uuid4().hex}.parquet"
    try:
        with written_atomically(part) as temporary:
            texts = read_database(name, source, digest)
            _write(con, _query(settings, name, texts), texts, f"Source {name}: {uri}", temporary)
        declaration = _declaration(settings, name, uri)
        target = part.with_name(f"{digest.sha256.hexdigest()}-{declaration}.parquet")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return _ingested(uri, digest.size_bytes, digest.sha256.hexdigest(), declaration, target)


def _declaration(settings: Settings, name: str, uri: str) -> str:
    """Return a short digest of all settings that decide how the same bytes are read and cast."""
    source = settings.sources[name]
    declared = source.model_dump(include=HOW_READ)
    declared["columns"] = [(column, declaration.type) for column, declaration in source.columns.items()]
    declared["zone"] = settings.source_zone(name).key
    if source.path is not None:
        declared["format"] = (format_of(name, source, uri), is_gzip(source, uri))
    return sha256_of_text(json.dumps([casts.VERSION, declared], sort_keys=True))[:16]


def _query(settings: Settings, name: str, texts: Texts) -> str:
    return casts.cast_query(settings.sources[name], settings.source_zone(name), texts)


def _write(con: duckdb.DuckDBPyConnection, query: str, texts: Texts, context: str, path: Path) -> None:
    """Cast the texts into a Parquet file, as a stream, and check that every line is in it."""
    notes = {"undeclared": texts.undeclared, "header": texts.header}
    noted = f"KV_METADATA {{{', '.join(f'{key}: {literal(json.dumps(note))}' for key, note in notes.items())}}}"
    copy = f"COPY ({query}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd, {noted})"
    with con.cursor() as cursor:  # a session of this thread's own
        cursor.register(RECORDS, texts.reader())
        try:
            cursor.execute(copy)
        except duckdb.Error as error:
            raise texts.error or SourceError(
                f"{context} cannot be cast: {error}.",
                "values that can be written as text.",
                "correct `columns` of the source, or its data, and run the week again.",
            ) from None
    if (written := pq.read_metadata(path).num_rows) != texts.lines:
        raise ConservationError(
            f"{context} has {texts.lines} lines, of which {written} were kept.",
            "every line as a row or a reject.",
            "run the week again; if it happens again, report it with the file.",
        )


def _ingested(uri: str, size_bytes: int, digest: str, declaration: str, parquet: Path) -> tuple[SourceFile, list[str]]:
    metadata = pq.read_metadata(parquet)
    reason = metadata.schema.names.index(casts.REASON)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    rows = sum(group.column(reason).statistics.null_count for group in groups)
    file = SourceFile(
        uri=uri,
        size_bytes=size_bytes,
        digest=digest,
        rows=rows,
        rejects=metadata.num_rows - rows,
        parquet=parquet,
        declaration=declaration,
        header=json.loads(metadata.metadata[b"header"]),
    )
    return file, json.loads(metadata.metadata[b"undeclared"])


def first_reasons(settings: Settings, read: SourceRead) -> list[str]:
    """Return file, line and reason of the source's first rejects."""
    reasons: list[str] = []
    with connection(settings) as con:
        for file in read.files:
            if file.rejects and len(reasons) < NAMED_REJECTS:
                rows = con.execute(
                    f"SELECT __line, {casts.REASON} FROM {parquet(file.parquet)} WHERE {casts.REASON} IS NOT NULL "
                    f"ORDER BY __line LIMIT {NAMED_REJECTS - len(reasons)}"
                ).fetchall()
                reasons += [f"{Path(file.uri).name} line {line}: {reason}" for line, reason in rows]
    return reasons


def is_delivered(settings: Settings, week: Week) -> bool:
    """Return whether every file of the week is there."""
    try:
        return all(locate(settings, name, week) for name, source in settings.sources.items() if source.path)
    except SourceError:
        return False


def read_past_sources(settings: Settings, first: Week, last: Week) -> dict[Week, SourcesManifest]:
    """Read every week's sources; those that do not come by the week once, so that all weeks see the same rows."""
    by_week = {name: source for name, source in settings.sources.items() if source.lookback_weeks is not None}
    narrowed = settings.model_copy(update={"sources": by_week})
    whole = read_sources(settings, last).sources
    weeks = [first]
    while weeks[-1] < last:
        weeks.append(weeks[-1].plus(1))
    return {
        week: SourcesManifest(week=str(week), sources={**whole, **read_sources(narrowed, week).sources})
        for week in weeks
    }


def together(manifests: list[SourcesManifest]) -> SourcesManifest:
    """Return all that several weeks read, each file once: an answer may come in a later week's file."""
    sources = {}
    for name, read in manifests[-1].sources.items():
        files = {file.parquet: file for manifest in manifests for file in manifest.sources[name].files}
        sources[name] = read.model_copy(update={"files": list(files.values())})
    return SourcesManifest(week=manifests[-1].week, sources=sources)
