"""The gate: it lets good versions pass, and records why and by how much it refuses each kind of bad one."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline import warehouse
from pipeline.errors import ModelError
from pipeline.manifests import FeatureColumn, SnapshotManifest
from pipeline.models import registry, role_history
from pipeline.promotion.gate import gate
from pipeline.promotion.handoffs import Gated
from pipeline.settings import Settings
from pipeline.weeks import Week
from tests.company import company_settings, own_database
from tests.promotion.candidates import AS_OF, candidate, muddled, rosy, shuffled
from tests.published import publish_week
from tests.tiny_model import COMPANY_COLUMNS

EXTRA = FeatureColumn(name="extra", kind="number")


@dataclass(frozen=True)
class Life:
    settings: Settings
    versions: dict[str, str]


@pytest.fixture(scope="module")
def life(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Life:
    """A champion, and candidates of every kind."""
    home = tmp_path_factory.mktemp("gate") / "home"
    settings = company_settings(company, home, **own_database(server_url))
    made = {
        "champion": candidate(settings, "champion"),
        "good": candidate(settings, "good", changes={"max_iter": 20}),
        "worse": candidate(settings, "worse", learn=muddled),
        "useless": candidate(settings, "useless", learn=shuffled),
        "rosy": candidate(settings, "rosy", calibrate=rosy),
        "other signature": candidate(settings, "other signature", extra=EXTRA),
        "leaking": candidate(settings, "leaking", extra=FeatureColumn(name="info", kind="number"), leak=True),
        "tampered": candidate(settings, "tampered", changes={"max_iter": 11}),
        "forgotten": candidate(settings, "forgotten", changes={"max_iter": 12}),
    }
    return Life(settings, {name: registered.version for name, registered in made.items()})


def judged(life: Life, name: str, **given: Any) -> Gated:
    asked = {"role": "champion", "from_week": None, "reason": "a test", "asked_by": "somebody", "airflow_run_id": None}
    return gate(life.settings, version=life.versions[name], **{**asked, **given})


def found(gated: Gated) -> dict[str, str]:
    return {name: words for name, _, words in (check.partition(": ") for check in gated.checks)}


def entries(life: Life) -> list[role_history.Entry]:
    with warehouse.transaction(life.settings) as connection:
        return role_history.entries(connection)


def failed(life: Life) -> list[str]:
    return [check["name"] for check in entries(life)[-1].checks if not check["passed"]]


def test_a_version_as_good_as_the_champion_passes_and_the_verdict_is_on_record(life: Life) -> None:
    gated = judged(life, "good")
    entry = entries(life)[-1]
    assert list(found(gated)) == [
        "files", "as of", "signature", "leak", "not worse", "segments", "calibrated", "latency",
    ]  # fmt: skip
    assert (entry.state, entry.kind, entry.asked_by, entry.reason) == ("asked", "promotion", "somebody", "a test")
    assert (entry.from_version, entry.to_version) == (life.versions["champion"], life.versions["good"])
    assert Week(entry.from_week) == Week.last_complete(datetime.now(UTC), life.settings.zone)
    assert [check["words"] for check in entry.checks] == list(found(gated).values())
    assert "from the champion, version 1" in found(gated)["not worse"]
    assert registry.champion(life.settings) == life.versions["champion"]


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        ("worse", "not worse", r"not worse: ROC AUC differs by -0\.\d{4} .* \(-0\.\d{4}; the limit is -0\.0100\)"),
        ("worse", "segments", r"much worse in product_id p\d: -0\.\d{4} \("),
        ("rosy", "calibrated", r"calibrated: error 0\.\d{4} on 1200 test rows.* the limit is 0\.0\d"),
        ("leaking", "leak", r"the feature info alone has a ROC AUC of 1\.0000: it has probably seen the answer"),
        ("leaking", "leak", r"the version has a ROC AUC of (1\.0000|0\.99\d\d)"),
    ],
)
def test_a_bad_version_is_refused_with_the_reason_and_by_how_much(
    life: Life, name: str, check: str, words: str
) -> None:
    with pytest.raises(ModelError, match=words) as refused:
        judged(life, name)
    assert f"barometer models show {life.versions[name]}" in refused.value.do
    assert failed(life) == ["calibrated"] if name == "rosy" else check in failed(life)
    assert entries(life)[-1].state == "refused"
    assert registry.champion(life.settings) == life.versions["champion"]


def test_a_challenger_need_not_be_as_good_as_the_champion(life: Life) -> None:
    assert not {"not worse", "segments"} & set(found(judged(life, "worse", role="challenger")))
    with pytest.raises(ModelError, match="calibrated"):
        judged(life, "rosy", role="challenger")


def test_a_version_with_another_signature_is_refused(life: Life, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"features\.sql, which has changed since its training and has made no week yet"
    ):
        judged(life, "other signature")
    snapshot = SnapshotManifest(
        week=str(AS_OF), cutoff=AS_OF.cutoff(life.settings.zone), sql_digest="", columns=COMPANY_COLUMNS, rows=0,
        subjects=0, shards=[], sources={},
    )  # fmt: skip
    snapshot.write(tmp_path / "manifest.json")
    publish_week(life.settings, AS_OF, [("c1", "p1", 0.5, None)], snapshot_manifest=str(tmp_path / "manifest.json"))
    with pytest.raises(ModelError, match=r"1 are not among .*: extra \(number; there: absent\)"):
        judged(life, "other signature")
    assert failed(life) == ["signature"]
    snapshot.model_copy(update={"columns": [*COMPANY_COLUMNS, EXTRA]}).write(tmp_path / "manifest.json")
    judged(life, "other signature")


@pytest.mark.parametrize("file", ["scorer.npz", "model.onnx", "model.skops", "evaluation.json", "bundle.json"])
def test_a_version_with_a_tampered_file_is_refused(life: Life, file: str) -> None:
    folder, _ = registry.bundle_of(life.settings, life.versions["tampered"])
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with pytest.raises(ModelError, match=rf"files: .*{file} is not the registered one"):
            judged(life, "tampered")
    finally:
        (folder / file).write_bytes(content)
    assert failed(life) == ["files"]
    judged(life, "tampered")


def test_a_version_whose_test_rows_were_changed_or_are_gone_is_refused(life: Life) -> None:
    folder = life.settings.home / "training/forgotten/set"
    (rows,) = folder.glob(f"{AS_OF.plus(-4)}.parquet")
    content = rows.read_bytes()
    rows.write_bytes(content[:-1] + b"\0")
    with pytest.raises(ModelError, match=r"test rows: .* is gone or was changed"):
        judged(life, "forgotten")
    rows.write_bytes(content)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"satisfied": ', '"satisfied": 1'))
    with pytest.raises(ModelError, match="is not the training set of version"):
        judged(life, "forgotten")
    manifest.unlink()
    with pytest.raises(ModelError, match=r"test rows: .* cannot be read"):
        judged(life, "forgotten")


def test_a_champion_that_cannot_score_the_rows_is_replaced_by_the_base_rate(life: Life) -> None:
    folder, _ = registry.bundle_of(life.settings, life.versions["champion"])
    content = (folder / "scorer.npz").read_bytes()
    (folder / "scorer.npz").write_bytes(b"other")
    try:
        gated = judged(life, "good")
        with pytest.raises(
            ModelError, match=r"not worse: .* against the base rate, because the champion, version 1, cannot"
        ):
            judged(life, "useless")
    finally:
        (folder / "scorer.npz").write_bytes(content)
    assert (
        "against the base rate, because the champion, version 1, cannot score these rows" in found(gated)["not worse"]
    )


def test_a_version_may_not_count_from_a_week_before_what_it_knows(life: Life) -> None:
    with pytest.raises(ModelError, match=f"as of: .* it can count from the week {AS_OF} on"):
        judged(life, "good", from_week=AS_OF.plus(-1))
    judged(life, "good", from_week=AS_OF)


def test_a_champion_needs_no_promotion_and_no_challenge(life: Life) -> None:
    with pytest.raises(ModelError, match="is the champion already"):
        judged(life, "champion")
    with pytest.raises(ModelError, match="cannot be its own challenger"):
        judged(life, "champion", role="challenger")
    with pytest.raises(ModelError, match="has no version '99'"):
        gate(
            life.settings, version="99", role="champion", from_week=None, reason=None, asked_by="x", airflow_run_id=None
        )


def test_a_withdrawn_version_is_refused(life: Life) -> None:
    with warehouse.transaction(life.settings) as connection:
        insert = (
            "INSERT INTO withdrawn_versions (model_version, withdrawn_by, reason) VALUES (:version, 'me', 'gloomy')"
        )
        connection.execute(text(insert), {"version": life.versions["forgotten"]})
    with pytest.raises(ModelError, match="was withdrawn: gloomy"):
        judged(life, "forgotten")


def test_a_gate_run_again_for_the_same_dag_run_leaves_one_open_entry(life: Life) -> None:
    first, second = judged(life, "good", airflow_run_id="a run"), judged(life, "good", airflow_run_id="a run")
    states = {entry.promotion_id: entry.state for entry in entries(life)}
    assert (states[first.promotion_id], states[second.promotion_id]) == ("abandoned", "asked")
