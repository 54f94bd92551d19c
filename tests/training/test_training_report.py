"""The training report and the model card: numbers that add up, pages that are easy to read, and only checked files."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ModelError
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import Feature, open_bundle
from pipeline.models.histograms import profile
from pipeline.models.profile import PROFILE_FILE, Profile
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import Settings
from pipeline.training.evaluation.exploration import explore
from pipeline.training.evaluation.feature_auc import importance
from pipeline.training.evaluation.measures import EVALUATION_FILE, Evaluation
from pipeline.training.evaluation.model_card import CARD_FILE
from pipeline.training.training_report import training_report
from pipeline.training.training_set import LABEL, read_weeks
from tests.browsing import Watched, needs_chromium
from tests.training.conftest import Training


@pytest.fixture(scope="module")
def page(training: Training) -> Path:
    made = training_report(
        training.settings, training.plan, training.training_set, training.evaluated, training.registered
    )
    return made.report


@pytest.fixture(scope="module")
def evaluation(training: Training) -> Evaluation:
    bundle = open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest)
    return Evaluation.model_validate_json(bundle.read(training.evaluated.bundle, EVALUATION_FILE))


def words(page: Path) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")).split())


def test_the_page_lies_beside_the_weekly_reports_with_an_index(training: Training, page: Path):
    assert page == training.settings.site / "training" / f"{training.plan.training_id}.html"
    index = page.with_name("index.html").read_text(encoding="utf-8")
    assert f'href="{page.name}"' in index
    assert f"Version {training.registered.version}" in index


def test_the_figures_stand_with_their_intervals_beside_the_base_rate(page: Path, evaluation: Evaluation):
    said = words(page)
    for title, key in {"ROC AUC": "roc_auc", "PR AUC": "pr_auc", "Brier score": "brier"}.items():
        estimate = evaluation.overall[key]
        base_rate = estimate.value - evaluation.against_base_rate[key].value
        row = f"{title} {estimate.value:.3f} {estimate.low:.3f} to {estimate.high:.3f} {base_rate:.3f}"
        assert row in said
    assert f"{evaluation.base_rate * 100:.1f}% of these subjects turned out satisfied" in said


def test_rows_and_labels_add_up_on_the_page(training: Training, page: Path):
    said = words(page)
    assert "for 6 past weeks 600" in said
    assert "Rows of the training set 600 of them train 400 of them validation 100 of them test 100" in said
    labels = re.findall(r"labels\.sql (\d+) .*?too long ago \N{MINUS SIGN} (\d+)", said)
    returned, other_weeks = (int(number) for number in labels[0])
    assert returned - other_weeks == 600
    for week, part in zip(training.plan.weeks, ["train"] * 4 + ["validation", "test"], strict=True):
        assert f"{week} {part} 100" in said


def test_the_card_stands_in_the_version_and_says_what_it_must(training: Training, evaluation: Evaluation):
    bundle = open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest)
    card = bundle.read(training.evaluated.bundle, CARD_FILE).decode()
    assert card.startswith("# Test & Co: a version of the model “satisfaction”")
    for expected in (
        f"| ROC AUC | {evaluation.overall['roc_auc'].value:.3f} |",
        "| train | 2026-01-26 to 2026-02-16 (4) | 400 |",
        f"`{training.training_set.digest}`",
        f"`{bundle.code_version}`",
        "| scikit-learn |",
        "| product_id | p0 |",
        "There was no champion",
        "## Limits",
        "## How it was calibrated",
    ):
        assert expected in card
    assert "&amp;" not in card
    assert all(line.count("|") >= 3 for line in card.splitlines() if line.startswith("|"))


def test_a_changed_file_of_the_version_is_not_reported(training: Training, tmp_path: Path):
    changed = shutil.copytree(training.evaluated.bundle, tmp_path / "model")
    (changed / EVALUATION_FILE).write_text((changed / EVALUATION_FILE).read_text().replace("0.", "0.9", 1))
    evaluated = training.evaluated.model_copy(update={"bundle": changed})
    with pytest.raises(ModelError, match=r"evaluation\.json is not the registered one"):
        training_report(training.settings, training.plan, training.training_set, evaluated, training.registered)


FEATURES = [Feature(name="amount", kind="number"), Feature(name="kind", kind="category")]


def explored(settings: Settings, rows: pa.Table) -> list[Any]:
    return explore(settings, rows, profile(settings, rows, FEATURES, np.linspace(0, 1, 50)))


def test_exploration_counts_what_is_there(settings: Settings):
    random = np.random.default_rng(0)
    amount = pa.array([None] * 100 + list(random.normal(10, 1, 895)) + [1000.0] * 5, pa.float32())
    kind = ["a"] * 600 + ["it's"] * 398 + ["rare", None]
    label = [n % 4 == 0 if n < 600 else n % 2 == 0 for n in range(1000)]
    products = [f"p{n % 12}" if n % 3 else "p0" for n in range(1000)]
    rows = pa.table({"product_id": products, "amount": amount, "kind": kind, LABEL: label})
    number, category = explored(settings, rows)
    assert (number.rows, number.absent, number.outliers) == (1000, 100, 5)
    assert sum(number.distribution) == sum(each.rows for each in number.bins) == 900
    assert dict(number.summary)["highest"] == "1,000"
    assert (category.absent, category.outliers) == (1, 0)
    assert [(each.words, each.rows) for each in category.bins] == [("a", 600), ("it's", 398), ("rare", 1)]
    assert category.bins[0].satisfied == pytest.approx(0.25)
    assert category.contrast == ("a", "any other")
    assert [part["product"] for part in category.by_product] == ["p0", "p1", "p2", "p10", "p11", "p4", "p5", "p7", None]
    assert sum(part["rows"] for part in category.by_product) == 1000


def test_importance_is_what_shuffling_costs(training: Training):
    bundle = open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest)
    scorer = Scorer.load(training.evaluated.bundle, training.evaluated.bundle_digest, threshold=0.5)
    manifest = TrainingSetManifest.read(training.training_set.manifest)
    rows = read_weeks(training.training_set.manifest.parent, manifest.weeks)
    falls = importance(scorer, rows, 7)
    assert falls == importance(scorer, rows, 7)
    assert list(falls) == [feature.name for feature in bundle.features]
    assert max(falls, key=lambda name: falls[name]) == "amount"
    assert falls["amount"] > 0.1 > abs(falls["is_busy"])


def test_the_profile_in_the_version_is_of_the_train_weeks(training: Training):
    bundle = open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest)
    stored = Profile.model_validate_json(bundle.read(training.evaluated.bundle, PROFILE_FILE))
    assert stored.rows == 400
    assert sum(stored.satisfaction.counts) == 100


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report", "index"])
def test_the_pages_are_fit_to_read(page: Path, browser: Any, name: str, width: int, scheme: str):
    watched = Watched(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
    address = (page if name == "report" else page.with_name("index.html")).as_uri()
    watched.page.goto(address)
    for details in watched.page.locator("summary").all():
        details.click()
    watched.must_be_fit(address)
    watched.context.close()
