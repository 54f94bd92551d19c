"""Single rows of a snapshot: a subject's features, read from the one shard that can hold them.

The key's hash gives the shard. Shards are sorted by key, so the file's statistics give the row groups to read. A file
is compared with its digest before its first use, and again when it has changed. Part of
`pipeline.service.published.lookup`; the entry point is `Snapshot`.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.errors import ConservationError, RequestError
from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.subject_hash import shard_of
from pipeline.service.instances.signature import Values

KEPT_SNAPSHOTS = 4
KEPT_SHARDS = 256
"""How many shards are remembered to be as they were written."""
REBUILD = "run the week again with rebuild, which makes its files anew."


class FeatureQuery(NamedTuple):
    """A subject, and the names of the features to look up."""

    customer_id: str
    product_id: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """A published week's snapshot, as the run's record has it.

    Raises `ConservationError` if a file of the snapshot is gone or is not what was written.
    """

    week: str
    manifest: Path
    digest: str

    def answer(self, query: FeatureQuery) -> tuple[str, Values] | RequestError | None:
        """Return the week and a subject's features, None for missing ones; None when the snapshot lacks the subject.

        A number that is not finite is missing, as it is to a model. A feature that the snapshot lacks is an error.
        """
        manifest = _manifest(self)
        features = {column.name for column in manifest.columns if column.kind in {"number", "category"}}
        absent = next((name for name in query.names if name not in features), None)
        if absent is not None:
            found = f"The latest snapshot, of the week {self.week}, does not have the model's feature {absent[:80]!r}."
            do = "send it, null if it is not known."
            return RequestError(422, found, "a value for it in the request.", do, field=absent)
        shard = shard_of(query.customer_id, query.product_id, len(manifest.shards))
        path = self.manifest.parent / manifest.shards[shard].file
        is_subject = (ds.field("customer_id") == query.customer_id) & (ds.field("product_id") == query.product_id)
        try:
            status = path.stat()
            _check(self, shard, (status.st_ino, status.st_size, status.st_mtime_ns))
            row = ds.dataset(path).to_table(columns=list(query.names), filter=is_subject, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise ConservationError(
                f"The snapshot's file {path} cannot be read: {error}.", "the file as the run wrote it.", REBUILD
            ) from None
        if not row.num_rows:
            return None
        values = (row[name][0].as_py() for name in query.names)
        finite = (None if isinstance(value, float) and not math.isfinite(value) else value for value in values)
        return self.week, tuple(finite)


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
