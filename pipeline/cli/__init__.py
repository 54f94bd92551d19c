"""The command `barometer`: how people and scripts run the pipeline and ask what it made.

It orchestrates nothing itself: `run`, `backfill` and `train` are DAG runs (`pipeline.orchestration.dag_runs`).
Results go to standard output, progress and errors to standard error; the exit code is 0 only on success, 2 for a wrong
use of the command, 1 for every other failure. The entry point is `main`.
"""

import os
from typing import Any

import click

from pipeline.cli.backfill import backfill
from pipeline.cli.clean import clean
from pipeline.cli.config import config
from pipeline.cli.console import show_error
from pipeline.cli.init import init
from pipeline.cli.keys import keys
from pipeline.cli.models import models
from pipeline.cli.promote import promote
from pipeline.cli.quarantine import quarantine
from pipeline.cli.query import query
from pipeline.cli.replay import replay
from pipeline.cli.report import report
from pipeline.cli.rollback import rollback
from pipeline.cli.run import run
from pipeline.cli.sample import sample
from pipeline.cli.score import score
from pipeline.cli.serve import serve
from pipeline.cli.services import down, up
from pipeline.cli.status import status
from pipeline.cli.train import train
from pipeline.errors import BarometerError, ServerError


class _Command(click.Group):
    """Tells errors in their three parts; shows tracebacks only where BAROMETER_DEBUG asks for them."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BarometerError as error:
            if os.environ.get("BAROMETER_DEBUG"):
                raise
            show_error(error)
            ctx.exit(1)
        except ModuleNotFoundError as error:
            if os.environ.get("BAROMETER_DEBUG") or (error.name or "").startswith("pipeline"):
                raise
            show_error(_not_installed(error))
            ctx.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order people meet them."""
        return list(self.commands)


def _not_installed(error: ModuleNotFoundError) -> BarometerError:
    """Return what is to be told where only the packages of the service are installed."""
    return ServerError(
        f"The package {error.name} is not installed.",
        "all of Barometer's dependencies; what only serves (barometer serve) has fewer.",
        "call this command where requirements.lock is installed.",
    )


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="barometer")
def main() -> None:
    """Weekly predictions of how satisfied each customer is likely to be with each product.

    \b
    Examples:
      barometer run                                publish the last complete week
      barometer backfill --from 2026-03-02 --to 2026-03-23
      barometer query "SELECT * FROM weekly_satisfaction_by_product"
      barometer status                             what is there, what runs, what to do next

    The configuration is pipeline.toml, or the file that BAROMETER_CONFIG names; state lives in the folder
    BAROMETER_HOME (default .barometer). BAROMETER_DEBUG=1 shows tracebacks.
    """


for command in (
    run,
    backfill,
    train,
    models,
    promote,
    rollback,
    score,
    query,
    report,
    status,
    quarantine,
    replay,
    sample,
    init,
    config,
    serve,
    keys,
    up,
    down,
    clean,
):
    main.add_command(command)
