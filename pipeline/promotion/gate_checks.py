"""The gate's checks: each a small function of the evidence that says whether it passed, by how much, and in words.

The entry point is `judge`; `files` comes before there is any evidence, since it says whether there can be.
"""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipeline.errors import ModelError
from pipeline.files import sha256_of_text
from pipeline.manifests import FeatureColumn, SnapshotManifest
from pipeline.models.bundle import open_bundle
from pipeline.models.evaluation_metrics import Estimate, chance_calibration_error, differences, estimates, metrics
from pipeline.promotion.gate_evidence import Evidence
from pipeline.settings import Settings
from pipeline.training.evaluation.feature_auc import suspects
from pipeline.training.training_set import FEWEST_OF_A_CLASS
from pipeline.weeks import Week

LATENCY_ROWS = 200


class Check(BaseModel):
    """One question of the gate and its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    words: str
    value: float | None = None
    """What was measured, where it is a number."""
    limit: float | None = None


def files(folder: Path, digest: str) -> Check:
    """Ask that every file of the version is the one that was sealed."""
    try:
        bundle = open_bundle(folder, digest)
        for name in bundle.files:
            bundle.read(folder, name)
    except ModelError as error:
        return Check(name="files", passed=False, words=f"{error.found} Expected: {error.expected}")
    return Check(name="files", passed=True, words=f"all {len(bundle.files)} files are as they were sealed")


def judge(
    settings: Settings, evidence: Evidence, *, role: str, from_week: Week, snapshot: SnapshotManifest | None
) -> list[Check]:
    """Return every check that needs evidence; a challenger need not be as good as the champion.

    Parameters
    ----------
    settings
        The settings; limits are in `[promotion]`.
    evidence
        The test rows, scored.
    role
        The role the version is to have.
    from_week
        The first week it is to be in force.
    snapshot
        The latest one, if there is any: the columns that features.sql returned.
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
    """Ask that it knows nothing from after the first week it is to be in force."""
    cutoff = evidence.bundle.training.cutoff
    known = f"it was trained on what was known by {cutoff:%Y-%m-%d %H:%M} UTC"
    if cutoff <= from_week.cutoff(settings.zone):
        return Check(name="as of", passed=True, words=f"{known}, before the end of the week {from_week}")
    first = Week.containing(cutoff, settings.zone).plus(-1)
    words = f"{known}, which is after the end of the week {from_week}; it can count from the week {first} on"
    return Check(name="as of", passed=False, words=words)


def _signature(settings: Settings, evidence: Evidence, snapshot: SnapshotManifest | None) -> Check:
    """Ask that features.sql returns what it wants, of the same kinds."""
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
    """Ask that neither it nor a feature alone is better than anything honest can be."""
    limit = settings.promotion.suspicious_auc
    own = metrics(evidence.labels, evidence.satisfaction)["roc_auc"]
    found = suspects(limit, own, evidence.feature_auc)
    best = max(own, *evidence.feature_auc.values())
    words = "; ".join(found) + ": it has probably seen the answer" if found else f"the highest ROC AUC is {best:.4f}"
    return Check(name="leak", passed=not found, value=best, limit=limit, words=words)


def _not_worse(settings: Settings, evidence: Evidence) -> Check:
    """Ask that it is worse than the champion by no more than the margin, at the bad end of the interval."""
    seed, margin = settings.model.seed, settings.promotion.margin
    labels, subjects = evidence.labels, evidence.subjects
    if evidence.champion is None:
        auc = estimates(labels, evidence.satisfaction, subjects, seed=seed)["roc_auc"]
        words = f"ROC AUC {_interval(auc)}, against {evidence.compared_to}: 0.5"
        return Check(name="not worse", passed=auc.low > 0.5, value=auc.low, limit=0.5, words=words)  # noqa: PLR2004
    change = differences(labels, evidence.champion, evidence.satisfaction, subjects, seed=seed)["roc_auc"]
    words = f"ROC AUC differs by {_interval(change)} from {evidence.compared_to}"
    return Check(name="not worse", passed=change.low >= -margin, value=change.low, limit=-margin, words=words)


def _segments(settings: Settings, evidence: Evidence) -> Check:
    """Ask that it is much worse in no product and no segment, beyond what chance explains."""
    margin = settings.promotion.segment_margin
    worse, judged, worst = [], 0, 0.0
    for column in ("product_id", *settings.model.segments):
        for value, rows in _groups(evidence.rows, column):
            if _is_too_small(evidence.labels[rows]):
                continue
            judged += 1
            change = _change(settings, evidence, rows)
            worst = min(worst, change.value)
            if change.value < -margin and change.high < 0:
                worse.append(f"{column} {value}: {_interval(change)}")
    words = f"ROC AUC in {judged} products and segments, against {evidence.compared_to}"
    words += f"; much worse in {'; '.join(worse)}" if worse else "; much worse in none"
    return Check(name="segments", passed=not worse, value=worst, limit=-margin, words=words)


def _groups(rows: pa.Table, column: str) -> list[tuple[str, np.ndarray]]:
    codes = rows.column(column).combine_chunks().dictionary_encode()
    indices = codes.indices.fill_null(-1).to_numpy()
    return [(value, np.flatnonzero(indices == code)) for code, value in enumerate(codes.dictionary.to_pylist())]


def _is_too_small(labels: np.ndarray) -> bool:
    return bool(min(labels.sum(), len(labels) - labels.sum()) < FEWEST_OF_A_CLASS)


def _change(settings: Settings, evidence: Evidence, rows: np.ndarray) -> Estimate:
    labels, subjects = evidence.labels[rows], evidence.subjects[rows]
    champion = np.zeros(len(rows)) if evidence.champion is None else evidence.champion[rows]  # all equal: AUC 0.5
    return differences(labels, champion, evidence.satisfaction[rows], subjects, seed=settings.model.seed)["roc_auc"]


def _calibrated(settings: Settings, evidence: Evidence) -> Check:
    """Ask that its probabilities are what happened, as far as so few rows can tell."""
    limit = settings.promotion.calibration_error
    error = metrics(evidence.labels, evidence.satisfaction)["calibration_error"]
    chance = chance_calibration_error(evidence.satisfaction, seed=settings.model.seed)
    words = f"error {error:.4f} on {len(evidence.labels)} test rows, where chance alone gives up to {chance:.4f}"
    return Check(
        name="calibrated", passed=error <= max(limit, chance), value=error, limit=max(limit, chance), words=words
    )


def _latency(settings: Settings, evidence: Evidence) -> Check:
    """Ask that one row is scored quickly enough for the sidecar."""
    limit = settings.promotion.latency_milliseconds
    rows = [
        evidence.rows.slice(n, 1).combine_chunks().to_batches()[0]
        for n in range(min(LATENCY_ROWS, len(evidence.labels)))
    ]
    times = []
    for row in rows:
        started = time.perf_counter()
        evidence.scorer.score(row)
        times.append(time.perf_counter() - started)
    median = float(np.median(times)) * 1000
    words = f"one row takes {median:.2f} ms (median of {len(rows)})"
    return Check(name="latency", passed=median <= limit, value=median, limit=limit, words=words)


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"
