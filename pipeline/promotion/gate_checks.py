"""The gate's checks: each takes the evidence and returns whether the version passed, by how much, and in words.

Entry points: `check_files`, which comes first because damaged files give no evidence, and `judge` for all others.
"""

from functools import partial
from timeit import timeit

import numpy as np

from pipeline.errors import ModelError
from pipeline.files import sha256_of_text
from pipeline.handoff import Facts
from pipeline.manifests import FeatureColumn, SnapshotManifest
from pipeline.models import registry
from pipeline.models.bundle import open_intact
from pipeline.models.evaluation_metrics import Estimate, chance_calibration_error
from pipeline.promotion.gate_evidence import Evidence
from pipeline.settings import Settings
from pipeline.training.evaluation.feature_auc import find_suspects
from pipeline.training.evaluation.measures import PRODUCT
from pipeline.weeks import Week

LATENCY_ROWS = 200


class Check(Facts):
    """One question of the gate and its answer."""

    name: str
    passed: bool
    words: str
    value: float | None = None
    """What was measured, where it is a number."""
    limit: float | None = None


def check_files(settings: Settings, version: str) -> Check:
    """Check that every file of the version is as it was sealed."""
    try:
        bundle = open_intact(*registry.bundle_of(settings, version))
    except ModelError as error:
        return Check(name="files", passed=False, words=f"{error.found} Expected: {error.expected}")
    return Check(name="files", passed=True, words=f"all {len(bundle.files)} files are as they were sealed")


def judge(
    settings: Settings, evidence: Evidence, *, role: str, from_week: Week, snapshot: SnapshotManifest | None
) -> list[Check]:
    """Return the results of all checks that need evidence; a challenger is not compared with the champion.

    `from_week` is the first week the version would be in force, `snapshot` the latest published one, if there is any.
    """
    compared = [_not_worse(settings, evidence), _segments(settings, evidence)] if role == "champion" else []
    return [
        _as_of(settings, evidence, from_week),
        _signature(settings, evidence, snapshot),
        _no_leak(settings, evidence),
        *compared,
        _calibrated(settings, evidence),
        _latency(settings, evidence),
    ]


def _as_of(settings: Settings, evidence: Evidence, from_week: Week) -> Check:
    """Check that it was trained on nothing from after the first week it would be in force."""
    cutoff = evidence.bundle.training.cutoff
    known = f"it was trained on what was known by {cutoff:%Y-%m-%d %H:%M} UTC"
    if cutoff <= from_week.cutoff(settings.zone):
        return Check(name="as of", passed=True, words=f"{known}, before the end of the week {from_week}")
    first = Week.containing(cutoff, settings.zone).plus(-1)
    words = f"{known}, which is after the end of the week {from_week}; it can count from the week {first} on"
    return Check(name="as of", passed=False, words=words)


def _signature(settings: Settings, evidence: Evidence, snapshot: SnapshotManifest | None) -> Check:
    """Check that features.sql returns all its features, of the same kinds."""
    columns, source = _current_columns(settings, evidence, snapshot)
    kinds = {column.name: column.kind for column in columns}
    unlike = [
        f"{feature.name} ({feature.kind}; there: {kinds.get(feature.name, 'absent')})"
        for feature in evidence.bundle.features
        if kinds.get(feature.name) != feature.kind
    ]
    words = f"of its {len(evidence.bundle.features)} features {len(unlike)} are not among {source}"
    return Check(name="signature", passed=not unlike, words=f"{words}: {', '.join(unlike)}" if unlike else words)


def _current_columns(
    settings: Settings, evidence: Evidence, snapshot: SnapshotManifest | None
) -> tuple[list[FeatureColumn], str]:
    if evidence.manifest.features_sql_digest == sha256_of_text(settings.features_sql.read_text(encoding="utf-8")):
        return evidence.manifest.columns, "the columns of features.sql, which has not changed since its training"
    if snapshot is not None:
        return snapshot.columns, f"the columns of features.sql for the week {snapshot.week}"
    return [], "the columns of features.sql, which has changed since its training and has made no week yet"


def _no_leak(settings: Settings, evidence: Evidence) -> Check:
    """Check that neither the version nor a feature alone predicts better than an honest one can."""
    limit, own = settings.promotion.suspicious_auc, evidence.metrics["roc_auc"]
    found = find_suspects(limit, own, evidence.feature_auc)
    best = max(own, *evidence.feature_auc.values())
    words = "; ".join(found) + ": it has probably seen the answer" if found else f"the highest ROC AUC is {best:.4f}"
    return Check(name="leak", passed=not found, value=best, limit=limit, words=words)


def _not_worse(settings: Settings, evidence: Evidence) -> Check:
    """Check that it is worse than the champion by at most the margin, at the low end of the interval."""
    if evidence.rows.champion is None:
        auc, limit = evidence.rows.overall()["roc_auc"], 0.5
        words = f"ROC AUC {_interval(auc)}, against {evidence.compared_to}: {limit}"
        return Check(name="not worse", passed=auc.low > limit, value=auc.low, limit=limit, words=words)
    change, limit = evidence.rows.against(evidence.rows.champion)["roc_auc"], -settings.promotion.margin
    words = f"ROC AUC differs by {_interval(change)} from {evidence.compared_to}"
    return Check(name="not worse", passed=change.low >= limit, value=change.low, limit=limit, words=words)


def _segments(settings: Settings, evidence: Evidence) -> Check:
    """Check that in no product and no segment it is worse by more than the margin and by more than chance."""
    limit = -settings.promotion.segment_margin
    worse, judged, worst = [], 0, 0.0
    for column in (PRODUCT, *settings.model.segments):
        for value, rows in evidence.rows.by_value(evidence.table[column]):
            if value is None or not rows.is_measurable:
                continue
            judged += 1
            champion = np.zeros(len(rows.labels)) if rows.champion is None else rows.champion  # all equal: AUC 0.5
            change = rows.against(champion)["roc_auc"]
            worst = min(worst, change.value)
            if change.value < limit and change.high < 0:
                worse.append(f"{column} {value}: {_interval(change)}")
    words = f"ROC AUC in {judged} products and segments, against {evidence.compared_to}"
    words += f"; much worse in {'; '.join(worse) or 'none'}"
    return Check(name="segments", passed=not worse, value=worst, limit=limit, words=words)


def _calibrated(settings: Settings, evidence: Evidence) -> Check:
    """Check that its calibration error is below the limit, or small enough to be chance on this number of rows."""
    error = evidence.metrics["calibration_error"]
    chance = chance_calibration_error(evidence.rows.satisfaction, seed=settings.model.seed)
    limit = max(settings.promotion.calibration_error, chance)
    words = f"error {error:.4f} on {evidence.table.num_rows} test rows, where chance alone gives up to {chance:.4f}"
    return Check(name="calibrated", passed=error <= limit, value=error, limit=limit, words=words)


def _latency(settings: Settings, evidence: Evidence) -> Check:
    """Check that one row is scored fast enough for the service."""
    limit = settings.promotion.latency_milliseconds
    rows = evidence.table.slice(0, LATENCY_ROWS).combine_chunks().to_batches()[0]
    one_by_one = (partial(evidence.scorer.score, rows.slice(number, 1)) for number in range(rows.num_rows))
    times = [timeit(score, number=1) for score in one_by_one]
    median = float(np.median(times)) * 1000
    words = f"one row takes {median:.2f} ms (median of {len(times)})"
    return Check(name="latency", passed=median <= limit, value=median, limit=limit, words=words)


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"
