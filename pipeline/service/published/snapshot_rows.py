"""Single rows of a snapshot: a subject's features, read from the one shard that can hold them.

The key's hash gives the shard. Shards are sorted by key, so the file's statistics give the row groups to read. A file
is compared with its digest before its first use, and again when it has changed. Part of
`pipeline.service.published.lookup`; the entry point is `Snapshot`.
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
from pipeline.service.instances.signature import Values

KEPT_SNAPSHOTS = 4
KEPT_SHARDS = 256
"""How many shards are remembered to be as they were written."""
REBUILD = "run the week again with rebuild, which makes its files anew."


@dataclass(frozen=True)
class Snapshot:
    """A published week's snapshot, as the run's record has it.

    Every method raises a `ConservationError` if a file of the snapshot is gone or is not what was written.
    """

    week: str
    manifest: Path
    digest: str

    def lacks(self, names: Sequence[str]) -> str | None:
        """Return the first of these names that is no feature of the snapshot."""
        features = {column.name for column in _manifest(self).columns if column.kind in {"number", "category"}}
        return next((name for name in names if name not in features), None)

    def features_of(self, customer_id: str, product_id: str, names: Sequence[str]) -> Values | None:
        """Return a subject's features by name, None for missing ones; None when the snapshot lacks the subject.

        A number that is not finite is missing, as it is to a model.
        """
        shards = _manifest(self).shards
        shard = shard_of(customer_id, product_id, len(shards))
        path = self.manifest.parent / shards[shard].file
        is_subject = (ds.field("customer_id") == customer_id) & (ds.field("product_id") == product_id)
        try:
            _check(self, shard, _state(path))
            found = ds.dataset(path).to_table(columns=list(names), filter=is_subject, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise ConservationError(
                f"The snapshot's file {path} cannot be read: {error}.", "the file as the run wrote it.", REBUILD
            ) from None
        if not found.num_rows:
            return None
        values = (found[name][0].as_py() for name in names)
        return tuple(None if isinstance(value, float) and not math.isfinite(value) else value for value in values)


@lru_cache(maxsize=KEPT_SNAPSHOTS)
def _manifest(snapshot: Snapshot) -> SnapshotManifest:
    manifest = SnapshotManifest.read(snapshot.manifest)
    if manifest.digest != snapshot.digest:
        raise ConservationError(
            f"The manifest {snapshot.manifest} is not the one of the run that published {snapshot.week}.",
            f"a manifest with the digest {snapshot.digest[:12]}.",
            REBUILD,
        )
    return manifest


@lru_cache(maxsize=KEPT_SHARDS)
def _check(snapshot: Snapshot, shard: int, _state: tuple[int, ...]) -> None:
    """Compare a shard's file with its digest, once for each state of the file."""
    _manifest(snapshot).checked_file(snapshot.manifest.parent, shard)


def _state(path: Path) -> tuple[int, ...]:
    """Return facts that change when the file does; none when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
