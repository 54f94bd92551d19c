"""Exports what a run kept out, as files that can be read in again.

Rejects are exported as the lines of their file, under its header, so that the corrected file can be put into the
landing zone. Quarantined subjects are exported as rows of features, with the columns of a snapshot's shard. The entry
points are `export_rejects` and `export_subjects`.
"""

import gzip
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.files import written_atomically
from pipeline.manifests import SnapshotManifest, SourceRead
from pipeline.settings import Settings, Source
from pipeline.sources.landing import format_of
from pipeline.sources.stream import NUL, original
from pipeline.warehouse.kept_out import queries as kept_out
from pipeline.warehouse.runs import RunRecord

Format = Literal["csv", "jsonl", "parquet"]
BATCH_ROWS = 10_000


def export_rejects(
    settings: Settings, run: RunRecord, form: Format, path: Path, *, name: str, file: str | None = None
) -> int:
    """Write a run's rejects of the source `name` to `path`, compressed if it ends in .gz, and return their number.

    With `file` only those in files of this name are written. Lines of CSV and JSON Lines are written byte for byte,
    except for quotes that were not needed; `form` is then the source's own. Of Parquet and databases the values are
    written as text, in any format.

    Raises
    ------
    ConfigError
        If there are no such rejects, their files have different headers, or `form` is not theirs.
    """
    only = {"source": name, **({"file": file} if file else {})}
    found = kept_out.rejects(settings, run.run_id, **only)
    source = settings.sources.get(name)
    if source is None or not found.num_rows:
        raise _nothing(f"rejects with {' and '.join(f'{key} {value}' for key, value in only.items())}", run)
    uris = pc.unique(found["uri"]).to_pylist()
    own = "" if source.path is None else format_of(name, source, uris[0])
    if own not in {"csv", "jsonl"}:
        _write(pa.Table.from_pylist([_values(source, text) for text in found["content"].to_pylist()]), form, path)
    elif form != own:
        raise ConfigError(
            f"The rejects of the source {name} are lines of {own}.",
            f"--format {own}, since they are exported as they are.",
            'correct it; barometer query "SELECT * FROM run_rejects" gives them as a table in any format.',
        )
    else:
        header = _header(run, name, uris)
        with _opened(path) as out:
            out.writelines([] if header is None else [header + b"\n"])
            out.writelines(_lines(found))
    return int(found.num_rows)


def export_subjects(settings: Settings, run: RunRecord, form: Format, path: Path) -> int:
    """Write the features of a run's quarantined subjects to `path`, and return the number of rows.

    Raises
    ------
    ConfigError
        If no subject is in quarantine.
    ConservationError
        If the manifest of the run's snapshot is gone.
    """
    subjects = kept_out.subjects(settings, run.run_id)
    if not subjects.num_rows or run.snapshot_manifest is None:
        raise _nothing("subjects in quarantine", run)
    manifest = SnapshotManifest.read(Path(run.snapshot_manifest))
    kinds = {column.name: pa.float32() if column.kind == "number" else pa.string() for column in manifest.columns}
    schema = pa.schema({"customer_id": pa.string(), "product_id": pa.string(), **kinds})
    rows = [row for text in subjects["rows"].to_pylist() for row in json.loads(text)]
    cells = {field.name: [_cell(row[field.name], field.type) for row in rows] for field in schema}
    _write(pa.table(cells, schema=schema), form, path)
    return len(rows)


def _nothing(what: str, run: RunRecord) -> ConfigError:
    return ConfigError(
        f"The run {run.run_id} has no {what}.",
        "rows that the run kept out.",
        f"see what it kept out: barometer quarantine list --run {run.run_id}.",
    )


def _values(source: Source, content: str) -> dict[str, str | None]:
    """Return a record of Parquet (a JSON object) or of a database (an array) as texts by column."""
    record = json.loads(content)
    values = record if isinstance(record, dict) else dict(zip(source.columns, record, strict=True))
    return {
        name: value if value is None or isinstance(value, str) else json.dumps(value) for name, value in values.items()
    }


def _lines(rejects: pa.Table) -> Iterator[bytes]:
    for batch in rejects.select(["content", "content_bytes"]).to_batches(BATCH_ROWS):
        for row in batch.to_pylist():
            yield (row["content"].encode() if row["content_bytes"] is None else row["content_bytes"]) + b"\n"


def _header(run: RunRecord, name: str, uris: list[str]) -> bytes | None:
    """Return the header that these files share; None if the format has none."""
    files = SourceRead.model_validate((run.sources or {})[name]).files
    headers = {file.header for file in files if file.uri in uris}
    if len(headers) > 1:
        raise ConfigError(
            f"The rejects of the source {name} have {len(headers)} different headers.",
            "rejects of files with the same header.",
            f"export each file by itself, with --file: {', '.join(Path(uri).name for uri in uris)}.",
        )
    (header,) = headers
    return None if header is None else original(header)


def _cell(value: Any, kind: pa.DataType) -> Any:
    """Return the original value of a cell in `quarantine.rows`, where text replaces what JSON cannot hold."""
    if value is None:
        return None
    return value.replace(NUL, "\0") if kind == pa.string() else float(value)


def _write(table: pa.Table, form: Format, path: Path) -> None:
    with _opened(path) as out:
        if form == "parquet":
            pq.write_table(table, out)
        elif form == "csv":
            pa_csv.write_csv(table, out)
        else:
            out.writelines(_json_line(row) for row in table.to_pylist())


def _json_line(row: dict[str, Any]) -> bytes:
    """Return a row as a line of JSON. NaN and infinities become text, since JSON has no numbers for them."""
    cells = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(cells, ensure_ascii=False).encode() + b"\n"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with written_atomically(path) as temporary, opened(temporary, "wb") as out:
            yield cast("BinaryIO", out)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}.",
            "a file in a folder that you may write to.",
            "name another file.",
        ) from None
