"""`barometer backfill`: publish several past weeks."""

import click

from pipeline.cli.console import WeekArgument, to_json
from pipeline.cli.run import publish_week
from pipeline.errors import BarometerError
from pipeline.settings import load_settings
from pipeline.weeks import Week

COLUMNS = f"{'week':<12}{'subjects':>12}{'predicted':>12}{'quarantined':>13}{'rejects':>9}{'model':>7}{'seconds':>9}"


@click.command()
@click.option("--from", "first", type=WeekArgument(), required=True, help="The first week, by its Monday.")
@click.option("--to", "last", type=WeekArgument(), required=True, help="The last week, by its Monday; it is included.")
@click.option("--model", default="auto", show_default=True, help="As in `barometer run`.")
@click.option("--rebuild", is_flag=True, help="As in `barometer run`.")
@click.option("--json", "as_json", is_flag=True, help="Print the runs' records as a JSON list.")
def backfill(first: Week, last: Week, model: str, *, rebuild: bool, as_json: bool) -> None:
    """Predict and publish several past weeks.

    The oldest week is first, and the command stops at the first week that fails. A week that is already published is
    published again with the same version and snapshot, unless --model or --rebuild is given.

    \b
    Examples:
      barometer backfill --from 2026-03-02 --to 2026-03-23
      barometer backfill --from 2026-03-02 --to 2026-03-23 --model current --rebuild
    """
    if last < first:
        raise click.BadParameter(f"{last} is before {first}.", param_hint="'--to'")
    settings = load_settings()
    records = []
    if not as_json:
        click.echo(COLUMNS)
    for week in (first.plus(n) for n in range((last.monday - first.monday).days // 7 + 1)):
        try:
            record = publish_week(settings, week, model, rebuild=rebuild)
        except BarometerError:
            click.echo(f"Week {week} failed; the weeks before it are published. Continue with --from {week}.", err=True)
            raise
        records.append(record)
        if not as_json:
            seconds = sum(record.stage_seconds.values())
            click.echo(
                f"{record.week!s:<12}{record.subjects:>12,}{record.predicted:>12,}{record.quarantined:>13,}"
                f"{record.rejects:>9,}{record.model_version:>7}{seconds:>9.1f}"
            )
    if as_json:
        click.echo(to_json([record.model_dump(mode="json") for record in records]))
