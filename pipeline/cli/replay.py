"""`barometer replay`: rebuild a week after a fix, and report the outcome of every row that was kept out."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import WeekArgument, to_json
from pipeline.cli.run import publish_week
from pipeline.errors import BarometerError
from pipeline.settings import load_settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.warehouse.kept_out.replayed import Replayed

EXAMPLES = 3
"""Rows printed for each outcome; --json prints all."""


@click.command()
@click.option("--week", type=WeekArgument(), required=True, help="The Monday that names the week.")
@click.option("--model", default="auto", show_default=True, help="As in `barometer run`.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome of every row as JSON.")
def replay(week: Week, model: str, *, as_json: bool) -> None:
    """Rebuild a week after a fix, and report on the rows kept out.

    The fix can be in the data, the SQL or a suite. The command runs the week like `barometer run --rebuild`, then looks
    up every reject and quarantined subject of the run before (the published one, else the last refused one). If the
    week is refused again, the published run stays published.

    \b
    Examples:
      barometer replay --week 2026-03-02
      barometer replay --week 2026-03-02 --json | jq '.rejects[] | select(.outcome == "still rejected")'
    """
    from pipeline.warehouse.kept_out.replayed import replayed, run_before

    settings = load_settings()
    before = run_before(settings, week)
    try:
        now = publish_week(settings, week, model, rebuild=True)
    except BarometerError:
        stands = f"{before.run_id} is still published" if before.state == "published" else "it was never published"
        click.echo(f"The week {week} was refused: {stands}, and the same rows are kept out.", err=True)
        raise
    result = replayed(settings, before, now)
    click.echo(to_json(_facts(result)) if as_json else _describe(result))


def _facts(result: "Replayed") -> dict[str, Any]:
    from pipeline.warehouse.kept_out.replayed import REJECT_OUTCOMES, SUBJECT_OUTCOMES

    rejects = result.rejects.to_pylist()
    return {
        "week": str(result.now.week),
        "before": result.before.run_id,
        "run": result.now.run_id,
        "reject_counts": _counts(rejects, REJECT_OUTCOMES),
        "subject_counts": _counts(result.subjects, SUBJECT_OUTCOMES),
        "rejects": rejects,
        "subjects": result.subjects,
    }


def _counts(rows: list[dict[str, Any]], outcomes: Sequence[str]) -> dict[str, int]:
    return {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in outcomes}


def _describe(result: "Replayed") -> str:
    before, now, facts = result.before, result.now, _facts(result)
    return "\n".join(
        [
            f"Week {now.week} is published: run {now.run_id}, {now.predicted:,} subjects predicted.",
            f"Of {len(facts['rejects']):,} rejects of the run {before.run_id}:",
            *_describe_outcomes(facts["rejects"], facts["reject_counts"], _describe_reject),
            f"Of {len(facts['subjects']):,} quarantined subjects of the run {before.run_id}:",
            *_describe_outcomes(facts["subjects"], facts["subject_counts"], _describe_subject),
        ]
    )


def _describe_outcomes(
    rows: list[dict[str, Any]], counts: dict[str, int], describe: Callable[[dict[str, Any]], str]
) -> Iterator[str]:
    """Yield a line for each outcome, and lines for some of its rows."""
    for outcome, count in counts.items():
        yield f"  {outcome:<22}{count:>9,}"
        yield from (f"    {describe(row)}" for row in islice((r for r in rows if r["outcome"] == outcome), EXAMPLES))


def _describe_reject(row: dict[str, Any]) -> str:
    return f"{row['source']}, {Path(row['uri']).name} line {row['line']}: {row['reason_now'] or row['reason']}"


def _describe_subject(row: dict[str, Any]) -> str:
    if row["satisfaction"] is not None:
        return f"{row['customer_id']} {row['product_id']}: satisfaction {row['satisfaction']:.3f}"
    return f"{row['customer_id']} {row['product_id']}: {'; '.join(row['reasons_now'] or row['reasons'])}"
