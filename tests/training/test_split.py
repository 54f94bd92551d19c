"""The split by time, and its refusals."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipeline.errors import ConservationError, ModelError
from pipeline.manifests import FeatureColumn, TrainingSetManifest, TrainingWeek
from pipeline.settings import Settings
from pipeline.training.training_set import features_of, read_weeks, split
from pipeline.weeks import Week
from tests.training.conftest import Training


def manifest(*answers: tuple[int, int]) -> TrainingSetManifest:
    """Consecutive weeks with these numbers of rows and of satisfied rows."""
    weeks = [
        TrainingWeek(week=str(Week.parse("2026-01-05").plus(n)), file="", rows=rows, satisfied=satisfied, digest="")
        for n, (rows, satisfied) in enumerate(answers)
    ]
    return TrainingSetManifest(
        cutoff=datetime(2026, 3, 2, tzinfo=UTC), columns=[], features_sql_digest="", labels_sql_digest="", weeks=weeks
    )


def test_weeks_are_whole_and_in_order_train_validation_test(settings: Settings) -> None:
    model = settings.model.model_copy(update={"validation_weeks": 2, "test_weeks": 3})
    parts = split(settings.model_copy(update={"model": model}), manifest(*[(40, 20)] * 9))
    train, validation, test = ([week.week for week in part] for part in (parts.train, parts.validation, parts.test))
    assert (len(train), len(validation), len(test)) == (4, 2, 3)
    assert max(train) < min(validation)
    assert max(validation) < min(test)


def test_too_few_weeks_are_refused(settings: Settings) -> None:
    assert split(settings, manifest(*[(40, 20)] * 3)).train
    with pytest.raises(ModelError, match="Only 2 past weeks have labels"):
        split(settings, manifest(*[(40, 20)] * 2))


@pytest.mark.parametrize(("part", "answers"), [("train", (40, 40)), ("validation", (40, 31)), ("test", (9, 0))])
def test_a_part_with_hardly_any_of_one_answer_is_refused(
    settings: Settings, part: str, answers: tuple[int, int]
) -> None:
    weeks = [(40, 20)] * 3
    weeks[["train", "validation", "test"].index(part)] = answers
    with pytest.raises(
        ModelError, match=f"The {part} weeks .* {answers[1]} satisfied and {answers[0] - answers[1]} unsat"
    ):
        split(settings, manifest(*weeks))


def test_a_column_without_any_value_is_no_feature() -> None:
    columns = [FeatureColumn(name="a", kind="number"), FeatureColumn(name="b", kind="number")]
    rows = pa.table({"a": pa.array([None, None], pa.float32()), "b": pa.array([1.0, None], pa.float32())})
    known = manifest((2, 1)).model_copy(update={"columns": columns})
    assert [feature.name for feature in features_of(known, rows)] == ["b"]
    with pytest.raises(ModelError, match="Every feature is NULL in all 2 training rows"):
        features_of(known.model_copy(update={"columns": columns[:1]}), rows)


def test_a_changed_file_of_the_training_set_is_refused(training: Training, tmp_path) -> None:
    folder = training.training_set.manifest.parent
    weeks = TrainingSetManifest.read(training.training_set.manifest).weeks
    assert read_weeks(folder, weeks[:2]).num_rows == 200
    (tmp_path / weeks[0].file).write_bytes((folder / weeks[1].file).read_bytes())
    for changed in weeks[:2]:
        with pytest.raises(ConservationError, match="is gone or was changed"):
            read_weeks(tmp_path, [changed])
