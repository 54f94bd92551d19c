"""Single rows of a snapshot: a subject's features, read from the one shard that can hold them.

The key's hash gives the shard. Shards are sorted by key, so the file's statistics give the row groups to read. A file
is compared with its digest before its first use, and again when it has changed. Kept free of DuckDB for the service's
sake. The entry point is `PublishedSnapshot`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.errors import ConservationError
from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.subject_hash import shard_of

KEPT_SNAPSHOTS = 4
KEPT_SHARDS = 256
"""How many shards are remembered to be as they were written."""


@dataclass(frozen=True)
class PublishedSnapshot:
    """A published week's snapshot, as the run's record has it.

    Its properties and methods raise a `ConservationError` if a file of the snapshot is gone or is not what was written.
    """

    week: str
    manifest: Path
    digest: str

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        return _manifest(self).names("number", "category")

    def row(self, customer_id: str, product_id: str, names: Sequence[str]) -> tuple[float | str | None, ...] | None:
        """Return a subject's values of these features; None if the snapshot lacks the subject.

        A missing value is None. A number that is not finite is missing, as it is to a model.
        """
        shards = _manifest(self).shards
        shard = shard_of(customer_id, product_id, len(shards))
        path = self.manifest.parent / shards[shard].file
        is_subject = (ds.field("customer_id") == customer_id) & (ds.field("product_id") == product_id)
        try:
            status = path.stat()
            _check(self, shard, (status.st_ino, status.st_size, status.st_mtime_ns))
            row = ds.dataset(path).to_table(columns=list(names), filter=is_subject, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            found = f"The snapshot's file {path} cannot be read: {error}."
            raise ConservationError(found, "the file as the run wrote it.", SnapshotManifest.ANEW) from None
        if not row.num_rows:
            return None
        values = (row[name][0].as_py() for name in names)
        return tuple(None if isinstance(value, float) and not math.isfinite(value) else value for value in values)


@lru_cache(maxsize=KEPT_SNAPSHOTS)
def _manifest(snapshot: PublishedSnapshot) -> SnapshotManifest:
    manifest = SnapshotManifest.read(snapshot.manifest)
    if manifest.digest != snapshot.digest:
        found = f"The manifest {snapshot.manifest} is not the one of the run that published {snapshot.week}."
        raise ConservationError(found, f"a manifest with the digest {snapshot.digest[:12]}.", SnapshotManifest.ANEW)
    return manifest


@lru_cache(maxsize=KEPT_SHARDS)
def _check(snapshot: PublishedSnapshot, shard: int, _state: tuple[int, ...]) -> None:
    """Compare a shard's file with its digest, once for each state of the file."""
    _manifest(snapshot).checked_file(snapshot.manifest.parent, shard)
