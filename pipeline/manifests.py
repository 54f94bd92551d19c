"""Manifests, as JSON files: the sources that were read, a snapshot, a training set."""

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

    ANEW: ClassVar[str] = "run the week again with rebuild, which makes its files again."
    """What to do if a file is not what was written."""

    def write(self, path: Path) -> None:
        """Write the manifest to `path` atomically, as JSON."""
        write_text(path, self.model_dump_json(indent=1))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the manifest in `path`.

        Raises
        ------
        ConservationError
            If the file is missing or has changed.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConservationError(
                f"The manifest {path} cannot be read: {error}.", "the file as the run wrote it.", cls.ANEW
            ) from None


class SourceFile(_Manifest):
    """One file of a source, or one read of a table or query, as ingested."""

    uri: str
    size_bytes: int
    digest: str
    """sha256 of the file's bytes in the landing zone; for a table or query, of the rows read."""
    rows: int
    rejects: int
    parquet: Path
    """The cast rows, under the home; see `pipeline.sources.week_sources`."""
    declaration: str = ""
    """Short digest of the settings by which the bytes were read."""
    week: str | None = None
    """The file's week, for a source with a file for each week."""
    header: str | None = None
    """The file's header, marks included (`pipeline.sources.stream`); None for a format without one."""


class SourceRead(_Manifest):
    """One source, as read for a week."""

    files: list[SourceFile]
    new_rejects: int
    timeless: bool
    """Declares neither event_time nor arrived_at, so past weeks see all of its rows."""
    undeclared_columns: list[str]

    @property
    def rows(self) -> int:
        """Rows read, in all files."""
        return sum(file.rows for file in self.files)

    @property
    def rejects(self) -> int:
        """Rejects, in all files."""
        return sum(file.rejects for file in self.files)


class SourcesManifest(_Manifest):
    """A week's sources, as read."""

    week: str
    sources: dict[str, SourceRead]


class FeatureColumn(_Manifest):
    """A column that features.sql returned, beside the two keys."""

    name: str
    kind: ColumnKind
    """number: float32 (booleans as 0 and 1); category: text; info: text that is not scored."""


class Shard(_Manifest):
    """One shard's file."""

    file: str
    """Its name, beside the manifest."""
    rows: int
    digest: str
    """sha256 of the file."""


class ShardsManifest(_Manifest):
    """Rows of features, in shards beside the manifest."""

    columns: list[FeatureColumn]
    rows: int
    shards: list[Shard]

    def checked_file(self, folder: Path, shard: int) -> Path:
        """Return a shard's file in `folder`, after checking that it is the one that was written.

        Raises
        ------
        ConservationError
            If the file is missing or has changed.
        """
        file, digest = folder / self.shards[shard].file, self.shards[shard].digest
        found = sha256_of_file(file) if file.exists() else "absent"
        if found != digest:
            raise ConservationError(
                f"The shard's file {file} is missing or has changed (sha256 {found[:12]}).",
                f"sha256 {digest[:12]}, as its manifest says.",
                self.ANEW,
            )
        return file

    def checked_files(self, folder: Path) -> list[Path]:
        """Return all shards' files in `folder`, in order, each checked as by `checked_file`."""
        return [self.checked_file(folder, shard) for shard in range(len(self.shards))]

    def names(self, *kinds: ColumnKind) -> list[str]:
        """Return the names of the columns of these kinds, in order."""
        return [column.name for column in self.columns if column.kind in kinds]


class SnapshotManifest(ShardsManifest):
    """A week's features. Its digest is the data version."""

    week: str
    cutoff: datetime
    sql_digest: str
    subjects: int
    """Distinct keys: fewer than rows if features.sql returned a subject twice."""
    sources: dict[str, SourceRead]
    made_by: str = ""
    """Digest of the code and the settings that made it."""

    @property
    def digest(self) -> str:
        """sha256 of the week, the SQL's digest, the columns and the shards; equal for equal content."""
        content = self.model_dump(mode="json", include={"week", "sql_digest", "columns", "shards"})
        return sha256_of_text(json.dumps(content, sort_keys=True))


class TrainingWeek(_Manifest):
    """One week of a training set."""

    week: str
    file: str
    """Its name, beside the manifest: Parquet with the snapshot's columns and `satisfied`, by subject."""
    rows: int
    satisfied: int
    digest: str
    """sha256 of the file."""


class WeekCleaning(_Manifest):
    """What happened to a past week's features and labels on the way into a training set.

    `feature_rows` = `quarantined_rows` + `unlabelled_rows` + `rows`, and
    `labels` = `labels_without_row` + `labels_of_quarantined` + `rows`.
    """

    week: str
    feature_rows: int
    """Rows that features.sql returned."""
    quarantined_rows: int
    """Rows that the weekly run would have quarantined."""
    quarantined: dict[str, int]
    """Rows by reason; a row with two reasons counts for both."""
    unlabelled_rows: int
    """Rows whose subject has no label that was known in time."""
    rows: int
    labels: int
    """Labels of this week that were known in time."""
    labels_without_row: int
    """Labels whose subject features.sql does not return."""
    labels_of_quarantined: int
    failures: list[str]
    """Critical expectations on the whole table that the week fails and that would stop a weekly run."""


class LabelCounts(_Manifest):
    """The rows that labels.sql returned: `returned` = `unanswered` + `later` + `known`."""

    returned: int
    unanswered: int
    """Rows without `satisfied`."""
    later: int
    """Rows that were not known by the training cutoff."""
    known: int


class TrainingSetManifest(_Manifest):
    """The features of past weeks, as of their cutoffs, with labels known by the training cutoff."""

    cutoff: datetime
    columns: list[FeatureColumn]
    features_sql_digest: str
    labels_sql_digest: str
    weeks: list[TrainingWeek]
    """Only weeks with labels, oldest first."""
    cleaning: list[WeekCleaning] = []
    """Every week that was examined, oldest first."""
    labels: LabelCounts | None = None
    sources: dict[str, SourceRead] = {}
    """The sources of all weeks together, each file once."""

    @property
    def digest(self) -> str:
        """sha256 of what a model learns from, without the record of how it was made."""
        content = self.model_dump(mode="json", exclude={"cleaning", "labels", "sources"})
        return sha256_of_text(json.dumps(content, sort_keys=True))
