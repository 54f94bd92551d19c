"""Writes a snapshot's shards: its rows, split by a stable hash of the subject's key and sorted by key.

Equal rows give equal bytes. The last step of building a snapshot. The entry point is `write_shards`.
"""

import math
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipeline.duck import parquet, quoted
from pipeline.files import sha256_of_file, written_atomically
from pipeline.manifests import KEYS, FeatureColumn, Shard

HASH = "__hash"
"""The column of the key's hash: see `pipeline.point_in_time.subject_hash`."""
GROUP_ROWS = 65_536
"""Rows of a row group. Scoring reads a part of one at a time."""


def write_shards(
    con: duckdb.DuckDBPyConnection, rows: Path, columns: list[FeatureColumn], folder: Path, shard_rows: int
) -> tuple[list[Shard], int]:
    """Write shards `shard-NNNN.parquet` of about `shard_rows` rows each; return them and the number of subjects.

    `rows` is Parquet with the keys, the columns as a model sees them, and `HASH`.
    """
    total, subjects = con.execute(
        f"SELECT (SELECT count(*) FROM {parquet(rows)}), "
        f"(SELECT count(*) FROM (SELECT DISTINCT customer_id, product_id FROM {parquet(rows)}))"
    ).fetchall()[0]
    names = [*KEYS, *(column.name for column in columns)]
    # If a subject has several rows, only sorting by all columns gives one order. It costs time, so only then.
    order = ", ".join(map(quoted, names if subjects < total else names[:2]))
    count = max(1, math.ceil(total / shard_rows))
    selected = f"SELECT {', '.join(map(quoted, names))} FROM {parquet(rows)}"
    shards = [
        _write(
            con,
            f"{selected} WHERE {HASH} % {count} = {index} ORDER BY {order}",
            folder / f"shard-{index:04d}.parquet",
        )
        for index in range(count)
    ]
    return shards, subjects


def _write(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> Shard:
    """Write one shard with pyarrow, in one piece, because the pages of DuckDB's writer vary with its threads."""
    table = con.sql(query).to_arrow_table().combine_chunks()
    with written_atomically(path) as temporary:
        pq.write_table(table, temporary, row_group_size=GROUP_ROWS)
        digest = sha256_of_file(temporary)
    return Shard(file=path.name, rows=table.num_rows, digest=digest)
