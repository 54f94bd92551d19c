"""Single rows of a snapshot: a subject's features, out of the one row group of the one shard that can hold them.

The shard follows from the key's hash, the row group from the file's own statistics, since a shard is sorted by key. A
file is compared with its digest before its first use, and again when it has changed. Part of
`pipeline.service.published.lookup`;
the entry point is `features_of`.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConservationError
from pipeline.manifests import ColumnKind, SnapshotManifest
from pipeline.service.instances.signature import Values

KEYS = ["customer_id", "product_id"]
KEPT_SNAPSHOTS = 4
KEPT_SHARDS = 256
"""Of so many shards it is remembered that they are as written, with their statistics."""


@dataclass(frozen=True)
class Snapshot:
    """A published week's snapshot, as the run's record has it."""

    week: str
    manifest: Path
    digest: str


def kinds(snapshot: Snapshot) -> Mapping[str, ColumnKind]:
    """Return what the snapshot's columns are, beside the keys.

    Raises
    ------
    ConservationError
        If its manifest is gone or is not what was written.
    """
    return {column.name: column.kind for column in _manifest(snapshot).columns}


def features_of(snapshot: Snapshot, customer_id: str, product_id: str, names: Sequence[str]) -> Values | None:
    """Return a subject's features by name, None for missing ones; None when the snapshot does not have the subject.

    A number that is not finite is missing, as it is to a model.

    Raises
    ------
    ConservationError
        If a file of the snapshot is gone or is not what was written.
    """
    manifest = _manifest(snapshot)
    shard = shard_of(customer_id, product_id, len(manifest.shards))
    path = snapshot.manifest.parent / manifest.shards[shard].file
    try:
        with pq.ParquetFile(path, metadata=_metadata(snapshot, shard, _state(path))) as file:
            for group in _groups(file.metadata, customer_id):
                found = _row(file, group, customer_id, product_id, names)
                if found is not None:
                    return found
    except (OSError, pa.ArrowException) as error:
        raise ConservationError(
            f"The snapshot's file {path} cannot be read: {error}.",
            "the file as the run wrote it.",
            "run the week again with rebuild, which makes its files anew.",
        ) from None
    return None


def shard_of(customer_id: str, product_id: str, shards: int) -> int:
    """Return which shard holds a subject, as `pipeline.point_in_time.shards.hash_of_key` has it."""
    digest = hashlib.md5(f"{customer_id}\x1f{product_id}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8]) % shards


@lru_cache(maxsize=KEPT_SNAPSHOTS)
def _manifest(snapshot: Snapshot) -> SnapshotManifest:
    manifest = SnapshotManifest.read(snapshot.manifest)
    if manifest.digest != snapshot.digest:
        raise ConservationError(
            f"The manifest {snapshot.manifest} is not the one of the run that published {snapshot.week}.",
            f"a manifest with the digest {snapshot.digest[:12]}.",
            "run the week again with rebuild, which makes its files anew.",
        )
    return manifest


@lru_cache(maxsize=KEPT_SHARDS)
def _metadata(snapshot: Snapshot, shard: int, _state: tuple[int, ...]) -> pq.FileMetaData:
    """Return what a shard's file says of itself, once it was compared with its digest."""
    return pq.read_metadata(_manifest(snapshot).checked_file(snapshot.manifest.parent, shard))


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes when the file does; nothing when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _groups(metadata: pq.FileMetaData, customer_id: str) -> Iterator[int]:
    """Yield the row groups that can hold a customer: text is ordered by its code points there as here."""
    place = metadata.schema.names.index("customer_id")
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(place).statistics
        known = statistics is not None and statistics.has_min_max
        if not known or statistics.min <= customer_id <= statistics.max:
            yield group


def _row(file: pq.ParquetFile, group: int, customer_id: str, product_id: str, names: Sequence[str]) -> Values | None:
    keys = file.read_row_group(group, columns=KEYS, use_threads=False)
    is_it = pc.and_(pc.equal(keys["customer_id"], customer_id), pc.equal(keys["product_id"], product_id))
    at = pc.index(is_it, True).as_py()
    if at < 0:
        return None
    row = file.read_row_group(group, columns=list(names), use_threads=False).slice(at, 1)
    return tuple(_value(row[name][0].as_py()) for name in names)


def _value(value: Any) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
