"""The command `barometer`, with which people and scripts run the pipeline and read its results.

`run`, `backfill`, `train` and `score` start DAG runs (`pipeline.orchestration.dag_runs`). Results go to standard
output, progress and errors to standard error. The exit code is 0 on success, 2 for a usage error, 1 for any other
failure. Entry points: `program` for the shell, `main` for Python.
"""

import atexit
import os
import sys
from typing import Any

import click

from pipeline.cli.backfill import backfill
from pipeline.cli.config import config
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
from pipeline.cli.services import clean, down, up
from pipeline.cli.status import status
from pipeline.cli.train import train
from pipeline.errors import BarometerError, ServerError


class _Command(click.Group):
    """A group of commands that prints errors in their three parts, or tracebacks if BAROMETER_DEBUG is set."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BarometerError as error:
            if os.environ.get("BAROMETER_DEBUG"):
                raise
            shown = error
        except ModuleNotFoundError as error:
            if os.environ.get("BAROMETER_DEBUG") or (error.name or "").startswith("pipeline"):
                raise
            found = f"The package {error.name} is not installed."
            expected = "all of Barometer's dependencies; an installation for barometer serve has fewer."
            shown = ServerError(found, expected, "run this command where requirements.lock is installed.")
        click.secho(f"Error: {shown.found}", fg="red", err=True)
        click.echo(f"Expected: {shown.expected}\nWhat to do: {shown.do}", err=True)
        raise click.exceptions.Exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order in which they were added."""
        return list(self.commands)


def program() -> None:
    """Run `main` as the program of this process, then end the process without freeing its objects.

    A DAG run leaves millions of them, which the interpreter would take two seconds to free. Everything that is
    registered to happen at exit happens.
    """
    status = 1

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(end)  # it is registered first, so it is called last
    try:
        main()
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
        raise


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="barometer")
def main() -> None:
    """Weekly predictions of how satisfied each customer is likely to be with each product.

    \b
    Examples:
      barometer run                                publish the last complete week
      barometer backfill --from 2026-03-02 --to 2026-03-23
      barometer query "SELECT * FROM weekly_satisfaction_by_product"
      barometer status                             the services, the last runs, what to do next

    The configuration is pipeline.toml or the file in BAROMETER_CONFIG. All state is in the folder BAROMETER_HOME
    (default .barometer). BAROMETER_DEBUG=1 shows tracebacks.
    """


for command in (run, backfill, train, models, promote, rollback, score, query, report, status, quarantine, replay):
    main.add_command(command)
for command in (sample, init, config, serve, keys, up, down, clean):
    main.add_command(command)
