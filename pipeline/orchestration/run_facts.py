"""The columns of a run's record, `prediction_runs`, that each stage's handoff fills.

Used by `pipeline.orchestration.recorded_stage` after every stage of the weekly run. The entry point is `run_facts`.
"""

from typing import Any

from pydantic import BaseModel

from pipeline.manifests import SnapshotManifest, SourcesManifest
from pipeline.validation.verdicts import verdicts_so_far
from pipeline.weekly.handoffs import Checked, FeaturesValidated, Ingested, Plan, Snapshot, SourcesValidated


def run_facts(plan: Plan, handoff: BaseModel) -> dict[str, Any]:
    """Return the columns of the run's record that a stage's handoff fills."""
    match handoff:
        case Plan():
            return {
                "model_version": handoff.model_version,
                "model_reason": handoff.model_reason,
                "trained_after_cutoff": _knows_later_data(handoff),
                "bundle_digest": handoff.bundle_digest,
                "routing": handoff.routing.model_dump(mode="json", exclude={"challenger": {"bundle"}}),
            }
        case Ingested():
            counts = {"source_lines": handoff.lines, "source_rows": handoff.rows, "rejects": handoff.rejects}
            return counts if handoff.manifest is None else counts | _sources(SourcesManifest.read(handoff.manifest))
        case SourcesValidated() | FeaturesValidated() | Checked():
            return {"validation": verdicts_so_far(plan.folder)}
        case Snapshot():
            return {
                "subjects": handoff.subjects,
                "snapshot_digest": handoff.digest,
                "snapshot_manifest": str(handoff.manifest),
                **_sources(SnapshotManifest.read(handoff.manifest)),
            }
    return {}


def _knows_later_data(plan: Plan) -> bool:
    """Return whether a model that serves saw data from after the week's cutoff."""
    challenger = plan.routing.challenger if plan.routing.mode == "ab" else None
    return plan.trained_after_cutoff or bool(challenger and challenger.trained_after_cutoff)


def _sources(manifest: SourcesManifest | SnapshotManifest) -> dict[str, Any]:
    return {"sources": {name: read.model_dump(mode="json") for name, read in manifest.sources.items()}}
