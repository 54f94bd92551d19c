"""`barometer clean`: delete all state; `make clean` calls it."""

import shutil

import click

from pipeline.errors import ConfigError
from pipeline.settings import load_settings


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
