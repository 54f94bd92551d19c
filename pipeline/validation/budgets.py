"""The error budgets: how many rejects of a source, and how many quarantined subjects, a run may have.

Entry points: `check_rejects` and `check_quarantined` stop a run; `allowed_rejects` and
`allowed_subjects` say how many are allowed.
"""

from pipeline.errors import BudgetError
from pipeline.manifests import SourceRead
from pipeline.settings import Settings, Source
from pipeline.settings.tables import Budget
from pipeline.sources.week_sources import first_reasons
from pipeline.validation.data_docs import run_page


def check_rejects(settings: Settings, name: str, read: SourceRead) -> None:
    """Refuse a source with more new rejects than its budget allows.

    Raises
    ------
    BudgetError
        With line and reason of the first rejects.
    """
    source = settings.sources[name]
    lines, allowed = allowed_rejects(source, read)
    if read.new_rejects > allowed:
        reasons = "; ".join(first_reasons(settings, read))
        raise BudgetError(
            f"Source {name} has {read.new_rejects} new rejects among {lines} lines, for example {reasons}.",
            f"at most {allowed} (reject_rows {source.reject_rows}, reject_fraction {source.reject_fraction}).",
            "correct the file and run the week again, or raise the source's budget; see "
            f"`barometer query \"SELECT uri, line, reason, content FROM rejects WHERE source = '{name}' "
            'AND accepted_run_id IS NULL ORDER BY uri, line"`.',
        )


def allowed_rejects(source: Source, read: SourceRead) -> tuple[int, int]:
    """Return the lines of the files with rejects, and the number of new rejects that is allowed."""
    lines = sum(file.rows + file.rejects for file in read.files if file.rejects)
    return lines, max(source.reject_rows, int(source.reject_fraction * lines))


def check_quarantined(settings: Settings, week: str, run_id: str, *, quarantined: int, subjects: int) -> None:
    """Refuse a week with more quarantined subjects than the budget allows.

    Raises
    ------
    BudgetError
        With the place where the reasons are.
    """
    budget, allowed = settings.budget, allowed_subjects(settings.budget, subjects)
    if quarantined > allowed:
        raise BudgetError(
            f"{quarantined} of the {subjects} subjects of {week} are quarantined. The reasons are in the "
            f"table quarantine under run {run_id}, and in {settings.site / run_page(run_id)}.",
            f"at most {allowed}, the larger of quarantine_rows = {budget.quarantine_rows} and "
            f"quarantine_fraction = {budget.quarantine_fraction:g} of the subjects.",
            "correct the data, features.sql or the suite, or raise the [budget]; then run the week again. What was "
            "published before is unchanged.",
        )


def allowed_subjects(budget: Budget, subjects: int) -> int:
    """Return how many of this many subjects may be quarantined."""
    return int(max(budget.quarantine_rows, budget.quarantine_fraction * subjects))
