"""The error budgets: how many rejects of a source, and how many quarantined subjects, a run may have.

Entry points: `allowed_rejects` and `allowed_subjects`.
"""

from pipeline.manifests import SourceRead
from pipeline.settings import Settings, Source


def allowed_rejects(source: Source, read: SourceRead) -> tuple[int, int]:
    """Return how many lines the files with rejects have, and how many new rejects the source's budget allows for."""
    lines = sum(file.rows + file.rejects for file in read.files if file.rejects)
    return lines, max(source.reject_rows, int(source.reject_fraction * lines))


def allowed_subjects(settings: Settings, subjects: int) -> int:
    """Return how many of so many subjects may be quarantined."""
    return int(max(settings.budget.quarantine_rows, settings.budget.quarantine_fraction * subjects))
