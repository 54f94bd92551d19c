"""`barometer run`: predict and publish one week, and write its report."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import StageProgress, WeekArgument, aligned
from pipeline.settings import Settings, load_settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.warehouse.runs import RunRecord


@click.command()
@click.option("--week", type=WeekArgument(), help="The Monday that names the week. [default: the last complete week]")
@click.option(
    "--model",
    default="auto",
    show_default=True,
    help="auto: the week's published version, else the version in force then; current: the champion; or a number.",
)
@click.option("--rebuild", is_flag=True, help="Read the sources again even if the week has a published snapshot.")
@click.option("--bootstrap", is_flag=True, help="First make the sample data and train a model, if there are none.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's record as JSON.")
def run(week: Week | None, model: str, *, rebuild: bool, bootstrap: bool, as_json: bool) -> None:
    """Predict and publish one week.

    Runs the DAG weekly_predictions, in the services of `make up` if they are running, else in this process. It is safe
    to run a week again: readers see the old rows until the new ones are complete.

    \b
    Examples:
      barometer run
      barometer run --week 2026-03-02 --model current
      barometer run --json | jq .predicted
    """
    settings = load_settings()
    week = week or Week.last_complete(datetime.now(UTC), settings.zone)
    if bootstrap:
        prepare(settings)
    record = publish_week(settings, week, model, rebuild=rebuild)
    click.echo(record.model_dump_json(indent=1) if as_json else summary(settings, record))


def publish_week(settings: Settings, week: Week, model: str, *, rebuild: bool) -> "RunRecord":
    """Run the week's DAG with progress, and return the record of the published run."""
    from pipeline.orchestration.dag_runs import run_dag
    from pipeline.warehouse import runs

    params = {"week": str(week), "model": model, "rebuild": rebuild}
    with StageProgress(f"Week {week}") as progress:
        published = run_dag(settings, "weekly_predictions", params, result_of="publish", watch=progress.watch)
    return runs.run(settings, published["run_id"])


def prepare(settings: Settings) -> None:
    """Make or extend the sample company's data and train the first model, if they are missing."""
    from examples import sample
    from pipeline.cli.train import train_version
    from pipeline.models import registry
    from pipeline.settings import ROOT

    if settings.config_file == ROOT / "pipeline.toml":  # the configuration that describes the sample company
        made = sample.ensure(settings.landing, datetime.now(UTC))
        for line in made.lines() if made else ():
            click.echo(line, err=True)
    if registry.champion(settings) is None:
        train_version(settings, None)


def summary(settings: Settings, record: "RunRecord") -> str:
    """Return a summary of the run, and what to do next."""
    from pipeline.reporting.report_facts import STAGES

    order = [*STAGES, *record.stage_seconds]  # jsonb does not keep the order in which the stages ran
    stages = sorted(record.stage_seconds.items(), key=lambda item: order.index(item[0]))
    rows = [
        ("run", record.run_id),
        ("subjects", f"{record.subjects:,}"),
        ("predicted", f"{record.predicted:,}"),
        ("quarantined", f"{record.quarantined:,}"),
        ("rejects", f"{record.rejects:,} of {record.source_lines:,} source lines"),
        ("model version", f"{record.model_version} ({record.model_reason})"),
        *_challenger_rows(record),
        ("stage times", ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages)),
        ("report", settings.site / f"reports/{record.week}.html"),
    ]
    week = Week(record.week)
    next_steps = [
        ("read the report", "open the file above in a browser"),
        ("ask the warehouse", 'barometer query "SELECT * FROM weekly_satisfaction_by_product"'),
        ("publish past weeks", f"barometer backfill --from {week.plus(-4)} --to {week.plus(-1)} --model current"),
        ("see it in Airflow", "make up"),
    ]
    return "\n".join([f"Week {record.week} is published.", aligned(rows), "", "What to do next:", aligned(next_steps)])


def _challenger_rows(record: "RunRecord") -> list[tuple[str, str]]:
    routing = record.routing or {}
    if not routing.get("challenger"):
        return []
    part = f"A/B, {routing['fraction']:.0%} of the customers" if routing["mode"] == "ab" else "in the shadow"
    return [("challenger", f"{routing['challenger']['model_version']} ({part})")]
