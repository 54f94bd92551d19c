"""`barometer up` and `barometer down`, which `make up` and `make down` call."""

import click

from pipeline.cli.console import aligned
from pipeline.settings import load_settings


@click.command()
def up() -> None:
    """Start Airflow, MLflow's UI and the service.

    Prints where they are and how to log in. All of them listen on 127.0.0.1 only, unless service.host says otherwise
    for the service. Harmless when they are up already.
    """
    from pipeline.local.services.lifecycle import addresses
    from pipeline.local.services.lifecycle import up as start

    settings = load_settings()
    start(settings, tell=lambda words: click.echo(f"  {words}", err=True))
    click.echo(aligned(list(addresses(settings).items()), indent=""))
    click.echo(
        f"\nLog in to Airflow as viewer, operator or admin: the passwords are under airflow_passwords in\n"
        f"{settings.home / 'credentials.json'}, which only you can read.\n"
        f"Logs: {settings.home / 'logs'}. Stop with make down."
    )


@click.command()
def down() -> None:
    """Stop what `barometer up` started.

    No process is left behind. Airflow's running tasks get some seconds to finish; what is cut off then is retried when
    the services are up again.
    """
    from pipeline.local.services.lifecycle import down as stop

    ended = stop(load_settings())
    click.echo(f"Stopped {ended} processes." if ended else "Nothing was running.")
