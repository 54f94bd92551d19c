"""`barometer report`: where a week's report lies."""

import click

from pipeline.cli.console import WeekArgument
from pipeline.errors import WeekError
from pipeline.settings import load_settings
from pipeline.weeks import Week


@click.command()
@click.option("--week", type=WeekArgument(), help="The Monday that names the week. [default: the latest with a report]")
def report(week: Week | None) -> None:
    r"""Print the path of a week's report.

    It is one HTML file that needs nothing else.

    \b
    Examples:
      barometer report
      xdg-open "$(barometer report --week 2026-03-02)"
    """
    folder = load_settings().site / "reports"
    pages = sorted(folder.glob(f"{week or '????-??-??'}.html"))
    if not pages:
        raise WeekError(
            found=f"There is no report of {f'the week {week}' if week else 'any week'} in {folder}.",
            expected="a week that was published.",
            do=f"run barometer run{f' --week {week}' if week else ''}.",
        )
    click.echo(pages[-1])
