"""Ingest, the second stage: read the week's sources, and hold their rejects against the error budgets.

Rejects are recorded before anything is made from the rows. The entry point is `ingest`; the reading itself is
`pipeline.sources.week_sources`.
"""

from pathlib import Path

from pipeline.errors import BudgetError
from pipeline.manifests import SnapshotManifest, SourceRead, SourcesManifest
from pipeline.settings import Settings
from pipeline.sources.week_sources import first_reasons, read_sources
from pipeline.validation.budgets import allowed_rejects
from pipeline.warehouse.repeats import refuse_repeats
from pipeline.weekly.handoffs import Ingested, Plan
from pipeline.weeks import Week


def ingest(settings: Settings, plan: Plan) -> Ingested:
    """Read the week's sources, record their rejects, and hold these against the error budget.

    When the run reuses a snapshot, nothing is read: the counts are those of the snapshot.

    Raises
    ------
    SourceError
        If a source is absent, unreadable or not as declared, or delivers what came before.
    BudgetError
        If a source has more rejects than its budget; they are on record all the same.
    """
    if plan.reused_snapshot is not None:
        return _counted(None, SnapshotManifest.read(plan.reused_snapshot).sources)
    read = read_sources(settings, Week.parse(plan.week))
    refuse_repeats(settings, read)
    manifest = settle_rejects(settings, plan.run_id, read)
    path = plan.folder / "sources.json"
    manifest.write(path)
    return _counted(path, manifest.sources)


def settle_rejects(settings: Settings, run_id: str, manifest: SourcesManifest) -> SourcesManifest:
    """Record what was read and the rejects, and accept these if every source is within its budget.

    A reject counts once, however often its file is read: when a run has accepted it, it is no longer new.

    Raises
    ------
    BudgetError
        If a source has more new rejects than its budget allows. They stay on record and stay new.
    """
    from pipeline.warehouse.evidence import accept_rejects, record_rejects
    from pipeline.warehouse.runs import update_run

    new = {
        name: record_rejects(settings, run_id, name, [file for file in read.files if file.rejects])
        for name, read in manifest.sources.items()
        if read.rejects
    }
    sources = {
        name: read.model_copy(update={"new_rejects": new.get(name, 0)}) for name, read in manifest.sources.items()
    }
    update_run(settings, run_id, sources={name: read.model_dump(mode="json") for name, read in sources.items()})
    for name, rejects in new.items():
        _hold_against_budget(settings, name, sources[name], rejects)
    for name in new:
        accept_rejects(settings, run_id, name, [file for file in sources[name].files if file.rejects])
    return manifest.model_copy(update={"sources": sources})


def _counted(path: Path | None, sources: dict[str, SourceRead]) -> Ingested:
    rows = sum(read.rows for read in sources.values())
    rejects = sum(read.rejects for read in sources.values())
    return Ingested(manifest=path, lines=rows + rejects, rows=rows, rejects=rejects)


def _hold_against_budget(settings: Settings, name: str, read: SourceRead, rejects: int) -> None:
    source = settings.sources[name]
    lines, allowed = allowed_rejects(source, read)
    if rejects <= allowed:
        return
    reasons = "; ".join(first_reasons(settings, read))
    raise BudgetError(
        f"Source {name} has {rejects} new rejects among {lines} lines, for example {reasons}.",
        f"at most {allowed} (reject_rows {source.reject_rows}, reject_fraction {source.reject_fraction}).",
        "mend the file and run the week again, or raise the source's budget; see "
        f"`barometer query \"SELECT uri, line, reason, content FROM rejects WHERE source = '{name}' "
        'AND accepted_run_id IS NULL ORDER BY uri, line"`.',
    )
