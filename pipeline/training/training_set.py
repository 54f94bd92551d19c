"""A training set as the later stages see it: its features, its split by time, its rows as a frame.

The split is by whole weeks, oldest first: train, then validation (for calibration), then test. So each part holds only
weeks after those of the part before it. Entry points: `split`, `read_weeks`, `features_of`, `frame` and `answers`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, ConservationError, ModelError
from pipeline.files import sha256_of_file
from pipeline.manifests import ColumnKind, TrainingSetManifest, TrainingWeek
from pipeline.models.bundle import Feature
from pipeline.models.scoring.columns import MISSING, as_in_training, inputs
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

LABEL = "__satisfied"
"""The label's column; features.sql may not return names that begin with two underscores."""
FEWEST_OF_A_CLASS = 10
"""Rows of each answer that every part needs; with fewer, neither calibration nor a metric is meaningful."""


@dataclass(frozen=True)
class Split:
    """Whole weeks, oldest first."""

    train: list[TrainingWeek]
    validation: list[TrainingWeek]
    test: list[TrainingWeek]

    @property
    def by_name(self) -> dict[str, list[TrainingWeek]]:
        """The weeks of each part, in order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split(settings: Settings, manifest: TrainingSetManifest) -> Split:
    """Return the weeks of each part.

    Raises
    ------
    ModelError
        If there are too few weeks, or a part has too few rows of either answer.
    """
    validation, test = settings.model.validation_weeks, settings.model.test_weeks
    weeks = manifest.weeks
    if len(weeks) <= validation + test:
        raise ModelError(
            f"Only {len(weeks)} past weeks have labels that were known by {manifest.cutoff:%Y-%m-%d %H:%M} UTC.",
            f"more than {validation + test}: {validation} to calibrate, {test} to test, the others to train.",
            "wait for more labels, train as of a later week, raise training_weeks, or lower maturity_weeks,"
            " validation_weeks or test_weeks in [model].",
        )
    first_test = len(weeks) - test
    first_validation = first_test - validation
    parts = Split(weeks[:first_validation], weeks[first_validation:first_test], weeks[first_test:])
    for name, part in parts.by_name.items():
        satisfied, unsatisfied = answer_rows(part)
        if min(satisfied, unsatisfied) < FEWEST_OF_A_CLASS:
            raise ModelError(
                f"The {name} weeks {part[0].week} to {part[-1].week} have {satisfied} satisfied and"
                f" {unsatisfied} unsatisfied subjects.",
                f"at least {FEWEST_OF_A_CLASS} of each.",
                f"look at what labels.sql returns for these weeks; give the part more weeks ({name}_weeks,"
                " training_weeks in [model]).",
            )
    return parts


def answer_rows(weeks: list[TrainingWeek]) -> tuple[int, int]:
    """Return how many rows of these weeks are satisfied, and how many are not."""
    satisfied = sum(week.satisfied for week in weeks)
    return satisfied, sum(week.rows for week in weeks) - satisfied


def read_weeks(folder: Path, weeks: list[TrainingWeek]) -> pa.Table:
    """Return the rows of these weeks, oldest first, and by subject within a week."""
    for week in weeks:
        path = folder / week.file
        if not path.exists() or sha256_of_file(path) != week.digest:
            raise ConservationError(
                f"The training set's file {path} is gone or was changed.",
                "the file as it was collected.",
                "train again, which collects anew: barometer train.",
            )
    return pa.concat_tables(pq.read_table(folder / week.file) for week in weeks)


def features_of(manifest: TrainingSetManifest, rows: pa.Table) -> list[Feature]:
    """Return the model's signature: the numbers, then the categories with the values that `rows` hold.

    A column without any value (for a number: any finite value) is left out. It teaches nothing, and
    scikit-learn's trees fail on it.
    """
    known = [c for c in manifest.columns if c.kind != "info" and _has_values(rows.column(c.name), c.kind)]
    if not known:
        raise ModelError(
            f"Every feature is NULL in all {rows.num_rows} training rows.",
            "at least one feature with values.",
            "look at what features.sql returns for the train weeks.",
        )
    numbers = [Feature(name=c.name, kind="number") for c in known if c.kind == "number"]
    categories = [
        Feature(name=c.name, kind="category", categories=_values(rows, c.name)) for c in known if c.kind == "category"
    ]
    return numbers + categories


def _has_values(column: pa.ChunkedArray, kind: ColumnKind) -> bool:
    known = pc.is_finite(column) if kind == "number" else pc.is_valid(column)  # infinite numbers count as absent
    return bool(pc.any(known).as_py())


def _values(rows: pa.Table, name: str) -> list[str]:
    return sorted(set(pc.unique(rows.column(name)).to_pylist()) - {None, MISSING})


def segments(settings: Settings, manifest: TrainingSetManifest) -> tuple[str, ...]:
    """Return the columns that a version is evaluated by, beside the product."""
    texts = [column.name for column in manifest.columns if column.kind != "number"]
    unknown = [name for name in settings.model.segments if name not in texts]
    if unknown:
        raise ConfigError(
            f"features.sql returns no text {', '.join(unknown)}, named in segments of [model].",
            f"some of its categories and info columns: {', '.join(texts) or 'it returns none'}.",
            "correct the names, or let features.sql return the column.",
        )
    return settings.model.segments


def frame(rows: pa.Table, features: list[Feature]) -> "pd.DataFrame":
    """Return the features as the model gets them in scoring: numbers as float32, categories as text with `MISSING`."""
    import pandas as pd

    columns = inputs(rows, features)
    values = {feature.name: as_in_training(columns[feature.name], feature) for feature in features}
    return pd.DataFrame({name: pd.Series(column, dtype=column.dtype) for name, column in values.items()})


def answers(rows: pa.Table) -> "pd.Series[int]":
    """Return the labels as 0 and 1."""
    return rows.column(LABEL).cast(pa.int8()).to_pandas()
