"""The evidence of validation: what every expectation found, on disk, in the warehouse and as pages.

Used by the three stages that validate, before they let the run go on or stop it. The one entry point is `record`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import ExpectationError
from pipeline.files import write_text
from pipeline.settings import Settings
from pipeline.validation.data_docs import run_page, write_pages
from pipeline.validation.gx import Result

_STAGES = ("validate_sources", "validate_features", "check")


def record(
    settings: Settings,
    run_id: str,
    folder: Path,
    *,
    stage: str,
    results: Sequence[Result],
    sections: Mapping[str, str],
) -> None:
    """Commit a stage's results: `validation/<stage>.json` of the run, its Data Docs, and its record in the warehouse.

    Parameters
    ----------
    settings
        The configuration.
    run_id, folder
        The run, and its folder.
    stage
        Which stage's results they are; an earlier attempt's are replaced.
    results
        What became of each expectation.
    sections
        Great Expectations' account of each suite, as HTML.
    """
    from pipeline.warehouse.runs import record_validation

    rows = [{"stage": stage, **result.model_dump(mode="json")} for result in results]
    folder = folder / "validation"
    write_text(folder / f"{stage}.json", json.dumps(rows, indent=1))
    files = [folder / f"{name}.json" for name in _STAGES]
    so_far = [row for file in files if file.exists() for row in json.loads(file.read_text(encoding="utf-8"))]
    write_pages(settings, run_id, so_far, sections)
    record_validation(settings, run_id, so_far)


def counts(results: Sequence[Result]) -> dict[str, int]:
    """Return how many expectations there were, and how many of them are failing warnings."""
    warnings = sum(result.status == "failed" and result.severity == "warning" for result in results)
    return {"expectations": len(results), "warnings": warnings}


def stop_on(failures: Sequence[Result], settings: Settings, run_id: str, *, about: str) -> None:
    """Stop the run when there are failures.

    Raises
    ------
    ExpectationError
        If `failures` holds anything; it names each.
    """
    if not failures:
        return
    found = "; ".join(f"{result.suite}: {result.title} found {result.observed}" for result in failures)
    raise ExpectationError(
        f"{len(failures)} critical expectation{'s' * (len(failures) > 1)} on {about} failed. {found}.",
        f"{'; '.join(result.expected for result in failures)}.",
        f"read {settings.site / run_page(run_id)}; mend the data, or the suite in {settings.expectations} if "
        "the data is right; then run the week again. What was published before still stands.",
    )
