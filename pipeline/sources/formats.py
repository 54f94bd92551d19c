"""Reads a file of any format as text, so that one mechanism (`casts`) finds the bad values of all formats.

Comes after `landing`, which finds the files, and before the casts. The entry point is `read_file`. Tables and queries
are read by `pipeline.sources.database.read_database`.
"""

from pipeline.settings import Source
from pipeline.sources.delimited import read_csv
from pipeline.sources.json_lines import read_json_lines
from pipeline.sources.landing import Fetched, format_of, is_gzip
from pipeline.sources.parquet import read_parquet
from pipeline.sources.stream import blocks
from pipeline.sources.texts import Texts


def read_file(source: Source, file: Fetched, optional: frozenset[str] = frozenset()) -> Texts:
    """Return the file's records as text. Declared columns in `optional` may be absent; their texts are then NULL.

    Raises
    ------
    SourceError
        Here or while the batches are read: the file is not of its format, or lacks a declared column.
    """
    name, uri = file.located.source, file.located.uri
    context = f"Source {name}: {uri}"
    kind = format_of(name, source, uri)
    if kind == "parquet":
        return read_parquet(context, source, file.path, gzipped=is_gzip(source, uri), optional=optional)
    stream = blocks(context, file.path, gzipped=is_gzip(source, uri))
    read = read_csv if kind == "csv" else read_json_lines
    return read(context, source, stream, optional)
