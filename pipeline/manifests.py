"""The manifests: what was read from the sources, what a snapshot holds, and what a training set holds."""

import json
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from pipeline.errors import ConservationError
from pipeline.files import sha256_of_file, sha256_of_text, write_text

ColumnKind = Literal["number", "category", "info"]
KEYS = ("customer_id", "product_id")
"""The columns that name a subject."""


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ANEW: ClassVar[str] = "run the week again with rebuild, which makes its files anew."
    """What to do when a file is not what was written."""

    def write(self, path: Path) -> None:
        """Write the manifest to `path` atomically, as JSON."""
        write_text(path, self.model_dump_json(indent=1))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the manifest in `path`.

        Raises
        ------
        ConservationError
            If the file is gone or is not what was written.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConservationError(
                f"The manifest {path} cannot be read: {error}.", "the file as the run wrote it.", cls.ANEW
            ) from None


class SourceFile(_Manifest):
    """One file of a source (or one read of a table or query), as ingested."""

    uri: str
    size_bytes: int
    digest: str
    """sha256 of the file's bytes as they lie in the landing zone; of the rows read, for a table or query."""
    rows: int
    rejects: int
    parquet: Path
    """The cast rows, under the home; see `pipeline.sources.week_sources`."""
    declaration: str = ""
    """Short digest of what decided how the bytes were read."""
    week: str | None = None
    """The week whose file it is, for a source with a file for each week."""
    header: str | None = None
    """The header as it stands in the file, marks included (`pipeline.sources.stream`); None for a format without."""


class SourceRead(_Manifest):
    """One source, as read for a week."""

    files: list[SourceFile]
    new_rejects: int
    timeless: bool
    """Declares neither event_time nor arrived_at: nothing can be hidden from the past."""
    undeclared_columns: list[str]

    @property
    def rows(self) -> int:
        """Rows read, over all files."""
        return sum(file.rows for file in self.files)

    @property
    def rejects(self) -> int:
        """Rejects, over all files."""
        return sum(file.rejects for file in self.files)


class SourcesManifest(_Manifest):
    """What a week's sources were."""

    week: str
    sources: dict[str, SourceRead]


class FeatureColumn(_Manifest):
    """A column that features.sql returned, beside the two keys."""

    name: str
    kind: ColumnKind
    """number: float32 (booleans as 0 and 1); category: text; info: text, carried and never scored."""


class Shard(_Manifest):
    """One shard's file."""

    file: str
    """Name beside the manifest."""
    rows: int
    digest: str
    """sha256 of the file."""


class ShardsManifest(_Manifest):
    """Rows of features, in shards beside the manifest."""

    columns: list[FeatureColumn]
    rows: int
    shards: list[Shard]

    def checked_file(self, folder: Path, shard: int) -> Path:
        """Return one shard's file below `folder`, checked to be the one that was written.

        Raises
        ------
        ConservationError
            If it is gone or has changed.
        """
        file, digest = folder / self.shards[shard].file, self.shards[shard].digest
        found = sha256_of_file(file) if file.exists() else "absent"
        if found != digest:
            raise ConservationError(
                f"The shard's file {file} is gone or is not what was written (sha256 {found[:12]}).",
                f"sha256 {digest[:12]}, as its manifest says.",
                self.ANEW,
            )
        return file

    def checked_files(self, folder: Path) -> list[Path]:
        """Return all shards' files below `folder`, in order, each checked like `checked_file`."""
        return [self.checked_file(folder, shard) for shard in range(len(self.shards))]

    def names(self, *kinds: ColumnKind) -> list[str]:
        """Return the names of the columns of these kinds, in order."""
        return [column.name for column in self.columns if column.kind in kinds]


class SnapshotManifest(ShardsManifest):
    """A week's features: the data version."""

    week: str
    cutoff: datetime
    sql_digest: str
    subjects: int
    """Distinct keys; fewer than rows when features.sql returned a subject twice."""
    sources: dict[str, SourceRead]

    @property
    def digest(self) -> str:
        """sha256 of the week, the SQL's digest, the columns and the shards: equal for equal content."""
        content = self.model_dump(mode="json", include={"week", "sql_digest", "columns", "shards"})
        return sha256_of_text(json.dumps(content, sort_keys=True))


class TrainingWeek(_Manifest):
    """One week of a training set."""

    week: str
    file: str
    """Name beside the manifest: Parquet with the snapshot's columns and `satisfied`, by subject."""
    rows: int
    satisfied: int
    digest: str
    """sha256 of the file."""


class WeekCleaning(_Manifest):
    """What became of a past week's features and labels on their way into a training set; the numbers add up.

    `feature_rows` = `quarantined_rows` + `unlabelled_rows` + `rows`, and
    `labels` = `labels_without_row` + `labels_of_quarantined` + `rows`.
    """

    week: str
    feature_rows: int
    """Rows that features.sql returned."""
    quarantined_rows: int
    """Rows that the weekly run would have kept out, and why: by reason, so that a row with two counts for both."""
    quarantined: dict[str, int]
    unlabelled_rows: int
    """Rows whose subject has no label that was known in time."""
    rows: int
    labels: int
    """Labels of this week that were known in time."""
    labels_without_row: int
    """Those whose subject features.sql does not return."""
    labels_of_quarantined: int
    failures: list[str]
    """Critical expectations on the table as a whole that the week fails; the weekly run would have stopped."""


class LabelCounts(_Manifest):
    """What labels.sql returned: `returned` = `unanswered` + `later` + `known`."""

    returned: int
    unanswered: int
    """Rows without `satisfied`."""
    later: int
    """Rows that were not known by the training cutoff."""
    known: int


class TrainingSetManifest(_Manifest):
    """The features of past weeks, as of each week's cutoff, with the labels known by the training cutoff."""

    cutoff: datetime
    columns: list[FeatureColumn]
    features_sql_digest: str
    labels_sql_digest: str
    weeks: list[TrainingWeek]
    """Oldest first; only weeks with labels."""
    cleaning: list[WeekCleaning] = []
    """Oldest first; every week that was looked at."""
    labels: LabelCounts | None = None
    sources: dict[str, SourceRead] = {}
    """What all weeks together were made from, each file once."""

    @property
    def digest(self) -> str:
        """sha256 of what a model learns from; how that came about is told beside it."""
        content = self.model_dump(mode="json", exclude={"cleaning", "labels", "sources"})
        return sha256_of_text(json.dumps(content, sort_keys=True))
