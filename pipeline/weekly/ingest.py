"""Ingest, the second stage: read the week's sources, and check their rejects against the error budgets.

Rejects are recorded before anything is made from the rows. The files are read by
`pipeline.sources.week_sources`. The entry point is `ingest`.
"""

from pathlib import Path

from pipeline.manifests import SnapshotManifest, SourceRead, SourcesManifest
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.validation.budgets import check_rejects
from pipeline.warehouse.evidence import accept_rejects, record_rejects
from pipeline.warehouse.repeats import refuse_repeats
from pipeline.warehouse.runs import committed_before_stop
from pipeline.weekly.handoffs import Ingested, Plan
from pipeline.weeks import Week


def ingest(settings: Settings, plan: Plan) -> Ingested:
    """Read the week's sources and record their rejects.

    If the run reuses a snapshot, nothing is read, and the counts are those of the snapshot.

    Raises
    ------
    SourceError
        If a source is absent, unreadable or not as declared, or delivers a file that came before.
    BudgetError
        If a source has more rejects than its budget. They are recorded nevertheless.
    """
    if plan.reused_snapshot is not None:
        return _counted(None, SnapshotManifest.read(plan.reused_snapshot).sources)
    read = read_sources(settings, Week.parse(plan.week))
    refuse_repeats(settings, read)
    manifest = _settle_rejects(settings, plan.run_id, read)
    path = plan.folder / "sources.json"
    manifest.write(path)
    return _counted(path, manifest.sources)


def _settle_rejects(settings: Settings, run_id: str, manifest: SourcesManifest) -> SourcesManifest:
    """Record the rejects, and accept them if every source is within its budget.

    A reject counts once, however often its file is read. Once a run has accepted it, it is no
    longer new.
    """
    bad = {name: [file for file in read.files if file.rejects] for name, read in manifest.sources.items()}
    new = {name: record_rejects(settings, run_id, name, files) for name, files in bad.items() if files}
    sources = {
        name: read.model_copy(update={"new_rejects": new.get(name, 0)}) for name, read in manifest.sources.items()
    }
    evidence = {name: read.model_dump(mode="json") for name, read in sources.items()}
    with committed_before_stop(settings, run_id, sources=evidence):
        for name in new:
            check_rejects(settings, name, sources[name])
    for name in new:
        accept_rejects(settings, run_id, name, bad[name])
    return manifest.model_copy(update={"sources": sources})


def _counted(path: Path | None, sources: dict[str, SourceRead]) -> Ingested:
    rows = sum(read.rows for read in sources.values())
    rejects = sum(read.rejects for read in sources.values())
    return Ingested(manifest=path, lines=rows + rejects, rows=rows, rejects=rejects)
