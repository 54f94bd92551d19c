"""`barometer sample`: make the sample company's data, in any size."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pipeline.cli.console import FOLDER, WeekArgument
from pipeline.settings import load_settings
from pipeline.weeks import Week


@click.command()
@click.option("--customers", type=click.IntRange(min=1), default=6_000, show_default=True)
@click.option("--weeks", type=click.IntRange(min=1), default=26, show_default=True, help="Weeks of history.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=7, show_default=True, help="The same seed gives the same bytes."
)
@click.option("--end", type=WeekArgument(), help="The last week. [default: the last complete week]")
@click.option("--out", type=FOLDER, help="The folder to write to. [default: the landing zone]")
def sample(customers: int, weeks: int, seed: int, end: Week | None, out: Path | None) -> None:
    """Make the sample company's data.

    The company is fictional; its data has the flaws of real data. An earlier sample in the folder is replaced. A folder
    with other files is refused.

    \b
    Examples:
      barometer sample
      barometer sample --customers 1000000 --weeks 12 --out /data/landing
    """
    from examples.sample.generate import generate

    settings = load_settings()
    end = end or Week.last_complete(datetime.now(UTC), settings.zone)
    with click.progressbar(length=customers, label="customers", file=sys.stderr) as bar:
        made = generate(
            out or settings.landing, customers, weeks, seed, end, on_progress=lambda done, _: bar.update(done - bar.pos)
        )
    click.echo("\n".join(made.lines()))
