"""Scoring with a challenger: whose rows are whose in an A/B test, and a shadow that stops nobody's prediction."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import ModelError
from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn
from pipeline.models.bundle import ARRAYS_FILE
from pipeline.models.predictions import SHADOW_SCHEMA
from pipeline.models.routing import is_challengers
from pipeline.models.scoring.exact import ExactEngine
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import Settings
from pipeline.weekly.handoffs import Plan, Snapshot
from pipeline.weekly.score import score
from tests.routed import with_challenger
from tests.tiny_model import COMPANY_COLUMNS, tiny_bundle
from tests.weekly.test_score import ROWS, WEEK, features_table, snapshot_of, validated

Sealed = tuple[Path, str]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sealed, Sealed]:
    """Of a champion, and of a challenger that has no use for one of the features."""
    folder = tmp_path_factory.mktemp("bundles")
    columns = {"champion": COMPANY_COLUMNS, "challenger": COMPANY_COLUMNS[1:]}
    champion, challenger = ((folder / name, tiny_bundle(folder / name, wanted)) for name, wanted in columns.items())
    return champion, challenger


@pytest.fixture
def plan(bundles: tuple[Sealed, Sealed], settings: Settings) -> Plan:
    (folder, digest), _ = bundles
    return Plan(
        run_id=f"{WEEK}.1",
        week=WEEK,
        cutoff=datetime(2026, 3, 8, 23, tzinfo=UTC),
        model_version="3",
        model_reason="the champion",
        trained_after_cutoff=False,
        bundle=folder,
        bundle_digest=digest,
        reused_snapshot=None,
        folder=settings.home / "runs" / f"{WEEK}.1",
    )


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    return snapshot_of(settings.home / "snapshot", features_table(ROWS))


def satisfactions(settings: Settings, bundle: Sealed) -> list[float]:
    """What this version alone predicts of everybody."""
    scorer = Scorer.load(*bundle, threshold=settings.model.threshold)
    batch = features_table(ROWS).combine_chunks().to_batches()[0]
    return scorer.score(batch).column("satisfaction").to_pylist()


@pytest.mark.parametrize("batch_rows", [7, 10_000])
def test_in_an_ab_test_each_row_is_by_its_customers_model(settings, plan, snapshot, bundles, batch_rows) -> None:
    resources = settings.resources.model_copy(update={"batch_rows": batch_rows})
    settings = settings.model_copy(update={"resources": resources})
    plan = with_challenger(plan, "ab", bundles[1])
    scored = score(settings, plan, snapshot, validated(plan.folder, [(1, 5)]), 1)
    table = pq.read_table(scored.file)
    challengers = is_challengers(table.column("customer_id").combine_chunks(), 0.5, "")
    assert 0.4 < challengers.mean() < 0.6
    both = [satisfactions(settings, bundle) for bundle in bundles]
    expected = [
        {
            "customer_id": f"c{row}",
            "role": ("champion", "challenger")[is_its],
            "model_version": ("3", "9")[is_its],
            "trained_after_cutoff": (False, True)[is_its],
            "satisfaction": both[is_its][row],
        }
        for row, is_its in zip((row for row in range(ROWS) if row != 5), challengers.astype(int), strict=True)
    ]
    assert table.select(list(expected[0])).to_pylist() == expected
    assert scored.shadow is None
    assert not (plan.folder / "shadow_predictions").exists()


def test_in_the_shadow_everybody_is_scored_twice_and_served_by_the_champion(settings, plan, snapshot, bundles) -> None:
    alone = score(settings, plan, snapshot, validated(plan.folder, [(1, 5)]), 1)
    served = alone.file.read_bytes()
    plan = with_challenger(plan, "shadow", bundles[1])
    scored = score(settings, plan, snapshot, validated(plan.folder, [(1, 5)]), 1)
    assert scored.file.read_bytes() == served
    assert scored.shadow is not None
    assert scored.shadow.digest == sha256_of_file(scored.shadow.file)
    shadow = pq.read_table(scored.shadow.file)
    assert shadow.schema == SHADOW_SCHEMA
    assert shadow.column("customer_id").to_pylist() == [f"c{row}" for row in range(ROWS) if row != 5]
    expected = satisfactions(settings, bundles[1])
    assert shadow.column("satisfaction").to_pylist() == expected[:5] + expected[6:]
    assert set(shadow.column("model_version").to_pylist()) == {"9"}
    assert set(shadow.column("trained_after_cutoff").to_pylist()) == {True}


def test_the_same_shard_and_routing_give_the_same_bytes(settings, plan, snapshot, bundles) -> None:
    for mode in ("ab", "shadow"):
        routed = with_challenger(plan, mode, bundles[1])
        first, again = (score(settings, routed, snapshot, validated(plan.folder, []), 1) for _ in range(2))
        assert (first.digest, first.shadow) == (again.digest, again.shadow)


def tampered(tmp_path: Path) -> Sealed:
    digest = tiny_bundle(tmp_path / "tampered")
    (tmp_path / "tampered" / ARRAYS_FILE).write_bytes(b"another model")
    return tmp_path / "tampered", digest


def of_other_features(tmp_path: Path) -> Sealed:
    columns = [*COMPANY_COLUMNS, FeatureColumn(name="not there", kind="number")]
    return tmp_path / "other", tiny_bundle(tmp_path / "other", columns)


@pytest.mark.parametrize(
    ("broken", "words"), [(tampered, "not the registered one"), (of_other_features, "'not there'")]
)
def test_a_challenger_that_cannot_score_ends_an_ab_test_and_of_another_run_only_the_shadow(
    settings, plan, snapshot, tmp_path: Path, *, broken: Callable[[Path], Sealed], words: str
) -> None:
    bundle = broken(tmp_path)
    with pytest.raises(ModelError, match=f"challenger, version 9, cannot score.*{words}"):
        score(settings, with_challenger(plan, "ab", bundle), snapshot, validated(plan.folder, []), 1)
    assert not plan.folder.joinpath("predictions").exists()
    in_shadow = score(settings, with_challenger(plan, "shadow", bundle), snapshot, validated(plan.folder, []), 1)
    assert in_shadow.rows == ROWS
    assert in_shadow.shadow is None
    assert words in str(in_shadow.shadow_failure)
    assert not plan.folder.joinpath("shadow_predictions").exists()


def test_a_challenger_whose_file_fails_on_the_rows_ends_only_the_shadow(
    settings: Settings, plan: Plan, snapshot: Snapshot, bundles: tuple[Sealed, Sealed], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(engine, columns):
        if len(columns) < len(COMPANY_COLUMNS) - 1:
            raise ModelError("It fails on the rows.", "a satisfaction for each row.", "use another version.")
        return satisfaction(engine, columns)

    satisfaction = ExactEngine.satisfaction
    monkeypatch.setattr(ExactEngine, "satisfaction", fails)
    plan = with_challenger(plan, "shadow", bundles[1])
    scored = score(settings, plan, snapshot, validated(plan.folder, []), 1)
    assert scored.rows == ROWS
    assert "It fails on the rows." in str(scored.shadow_failure)
    assert list(plan.folder.joinpath("shadow_predictions").iterdir()) == []
