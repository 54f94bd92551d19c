"""`barometer clean`, which `make clean` calls."""

import shutil

import click

from pipeline.errors import ConfigError
from pipeline.settings import load_settings


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(*, yes: bool) -> None:
    """Stop everything and delete the home with all its state: databases, models, snapshots, reports.

    Source files outside the home are not touched.
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
            f"{home} holds files but no credentials.json, so it is no home of Barometer.",
            "a home that Barometer made.",
            "check BAROMETER_HOME; delete the folder yourself if it is meant.",
        )
    if not yes:
        click.confirm(f"Delete {home} with all databases, models and reports?", abort=True)
    down(settings)
    embedded.remove(home, run_as=settings.database.run_as)
    shutil.rmtree(home)
    click.echo(f"Deleted {home}.")
