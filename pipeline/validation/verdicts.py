"""The verdict of a stage that validates: what every expectation found, as a file of the run and as pages.

Used by the three stages that validate, before they let the run go on or stop it. Entry points:
`write_verdict`, `verdicts_so_far`, `counts` and `stop_on`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import ExpectationError
from pipeline.files import write_text
from pipeline.settings import Settings
from pipeline.validation.data_docs import run_page, write_pages
from pipeline.validation.gx import Result

_STAGES = ("validate_sources", "validate_features", "check")


def write_verdict(
    settings: Settings,
    run_id: str,
    folder: Path,
    *,
    stage: str,
    results: Sequence[Result],
    sections: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Write a stage's results to `validation/<stage>.json` in the run's folder, and the run's Data Docs.

    The results of an earlier attempt are replaced. `sections` are Great Expectations' page sections for each suite.
    Return all results of the run so far, ready for JSON.
    """
    rows = [{"stage": stage, **result.model_dump(mode="json")} for result in results]
    write_text(folder / "validation" / f"{stage}.json", json.dumps(rows, indent=1))
    so_far = verdicts_so_far(folder)
    write_pages(settings, run_id, so_far, sections)
    return so_far


def verdicts_so_far(folder: Path) -> list[dict[str, Any]]:
    """Return the results that the stages have written to the run's folder, in the order of the stages."""
    files = [folder / "validation" / f"{name}.json" for name in _STAGES]
    return [row for file in files if file.exists() for row in json.loads(file.read_text(encoding="utf-8"))]


def counts(results: Sequence[Result]) -> dict[str, int]:
    """Return the number of expectations, and how many of them are warnings that fail."""
    warnings = sum(result.status == "failed" and result.severity == "warning" for result in results)
    return {"expectations": len(results), "warnings": warnings}


def stop_on(failures: Sequence[Result], settings: Settings, run_id: str, *, about: str) -> None:
    """Stop the run if there are failures.

    Raises
    ------
    ExpectationError
        If there are any; the error names each.
    """
    if not failures:
        return
    found = "; ".join(f"{result.suite}: {result.title} found {result.observed}" for result in failures)
    raise ExpectationError(
        f"{len(failures)} critical expectation{'s' * (len(failures) > 1)} on {about} failed. {found}.",
        f"{'; '.join(result.expected for result in failures)}.",
        f"read {settings.site / run_page(run_id)}; correct the data, or the suite in {settings.expectations} "
        "if the data is right; then run the week again. What was published before is unchanged.",
    )
