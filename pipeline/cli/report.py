"""`barometer report`: write a week's report again from the warehouse."""

import click

from pipeline.cli.console import WeekArgument
from pipeline.errors import WeekError
from pipeline.settings import Settings, load_settings
from pipeline.weeks import Week


@click.command()
@click.option("--week", type=WeekArgument(), help="The Monday that names the week. [default: the latest published]")
def report(week: Week | None) -> None:
    """Write a week's report again and print its path.

    The report is a single HTML file. It also shows earlier weeks that were published after the run wrote its report.

    \b
    Examples:
      barometer report
      xdg-open "$(barometer report --week 2026-03-02)"
    """
    from pipeline.reporting.week_report import write_report

    settings = load_settings()
    path, _ = write_report(settings, week or _latest(settings))
    click.echo(path)


def _latest(settings: Settings) -> Week:
    from sqlalchemy import text

    from pipeline import warehouse

    with warehouse.transaction(settings) as connection:
        monday = connection.execute(text("SELECT max(week) FROM published_weeks")).scalar_one()
    if monday is None:
        raise WeekError("No week is published yet.", "a week that was published.", "run barometer run.")
    return Week(monday)
