"""`barometer query`: read the warehouse with SQL."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import FILE
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from pipeline.warehouse.query import Format


@click.command()
@click.argument("sql")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json", "parquet"]), default="table", show_default=True
)
@click.option("--out", type=FILE, help="The file to write. [default: standard output]")
def query(sql: str, form: "Format", out: Path | None) -> None:
    """Query the warehouse with SQL.

    Access is read-only, and the server starts if needed. Tables and views: predictions, latest_predictions,
    weekly_satisfaction_by_product, shadow_predictions, prediction_runs, rejects, quarantine, model_promotions.

    \b
    Examples:
      barometer query "SELECT week, count(*) FROM predictions GROUP BY week ORDER BY week"
      barometer query "SELECT * FROM latest_predictions" --format parquet --out latest.parquet
    """
    from pipeline.warehouse.query import run_query, write

    table = run_query(load_settings(), sql)
    if out:
        with out.open("wb") as file:
            write(table, form, file)
    else:
        write(table, form, sys.stdout.buffer)
