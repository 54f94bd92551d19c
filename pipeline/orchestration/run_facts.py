"""What a stage's handoff adds to the run's record, beside what the stages themselves record of their verdicts.

Stages stay free of the record where they need no database; the adapter calls `record_facts` after each.
"""

from typing import Any

from pydantic import BaseModel

from pipeline.manifests import SnapshotManifest
from pipeline.settings import Settings
from pipeline.warehouse import runs
from pipeline.weekly.handoffs import Ingested, Snapshot


def record_facts(settings: Settings, run_id: str, handoff: BaseModel) -> None:
    """Write to `prediction_runs` what a stage's handoff says of the run: what was read, what was made of it."""
    facts = _facts(handoff)
    if facts:
        runs.update_run(settings, run_id, **facts)


def _facts(handoff: BaseModel) -> dict[str, Any]:
    if isinstance(handoff, Ingested):
        return {"source_lines": handoff.lines, "source_rows": handoff.rows, "rejects": handoff.rejects}
    if isinstance(handoff, Snapshot):
        sources = SnapshotManifest.read(handoff.manifest).sources
        return {
            "subjects": handoff.subjects,
            "snapshot_digest": handoff.digest,
            "snapshot_manifest": str(handoff.manifest),
            "sources": {name: read.model_dump(mode="json") for name, read in sources.items()},
        }
    return {}
