"""`barometer up`, `down` and `clean`: start and stop the services, delete all state; `make` calls them."""

import shutil

import click

from pipeline.cli.console import aligned
from pipeline.errors import ConfigError
from pipeline.settings import load_settings


@click.command()
def up() -> None:
    """Start Airflow, MLflow's UI and the service.

    Prints their addresses and how to log in. They listen on 127.0.0.1 only, except that service.host can change this
    for the service. The command has no effect if they are running.
    """
    from pipeline.local.services.lifecycle import addresses
    from pipeline.local.services.lifecycle import up as start

    settings = load_settings()
    start(settings, on_progress=lambda text: click.echo(f"  {text}", err=True))
    click.echo(aligned(list(addresses(settings).items()), indent=""))
    click.echo(
        f"\nLog in to Airflow as viewer, operator or admin. The passwords are in airflow_passwords of\n"
        f"{settings.home / 'credentials.json'}, which only you can read.\n"
        f"Logs: {settings.home / 'logs'}. Stop with make down."
    )


@click.command()
def down() -> None:
    """Stop the services that `barometer up` started.

    No process is left running. Airflow's tasks get some seconds to finish; a task that does not finish is retried when
    the services are up again.
    """
    from pipeline.local.services.lifecycle import down as stop

    ended = stop(load_settings())
    click.echo(f"Stopped {ended} processes." if ended else "Nothing was running.")


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def clean(*, yes: bool) -> None:
    """Stop everything and delete the home with all its state.

    It contains the databases, models, snapshots and reports. Source files outside the home are not deleted.
    """
    from pipeline.local.postgres import embedded
    from pipeline.local.services.lifecycle import down

    settings = load_settings()
    home = settings.home
    if not home.exists():
        click.echo(f"Nothing to delete: there is no {home}.")
        return
    if any(home.iterdir()) and not (home / "credentials.json").exists():
        raise ConfigError(
            f"{home} contains files but no credentials.json, so it is not a home of Barometer.",
            "a home that Barometer made.",
            "check BAROMETER_HOME; if the folder is the right one, delete it yourself.",
        )
    if not yes:
        click.confirm(f"Delete {home} with all databases, models and reports?", abort=True)
    down(settings)
    embedded.remove(home, run_as=settings.database.run_as)
    shutil.rmtree(home)
    click.echo(f"Deleted {home}.")
