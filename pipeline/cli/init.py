"""`barometer init`: draft a company's configuration from its files."""

from pathlib import Path

import click

from pipeline.cli.console import FOLDER, to_json


@click.command()
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The folder of the company's files, which becomes the landing zone.",
)
@click.option(
    "--to", "target", type=FOLDER, default=Path(), help="The folder for the drafts. [default: the working directory]"
)
@click.option("--json", "as_json", is_flag=True, help="Print what was drafted as JSON.")
def init(folder: Path, target: Path, *, as_json: bool) -> None:
    """Draft pipeline.toml, SQL and suites from a company's files.

    Reads CSV, JSON Lines and Parquet files (plain or .gz) and drafts columns, types, formats, times and observed
    ranges. Read every draft before you use it. Existing files are not replaced.

    \b
    Examples:
      barometer init --from /data/acme --to acme
      BAROMETER_CONFIG=acme/pipeline.toml barometer config check
    """
    from pipeline.onboarding.drafts import write_drafts

    drafted = write_drafts(folder, target, on_progress=lambda text: click.echo(f"{text} …", err=True))
    left_out = {str(path): reason for path, reason in drafted.left_out.items()}
    if as_json:
        content = {"files": list(map(str, drafted.files)), "sources": list(drafted.sources), "left_out": left_out}
        click.echo(to_json(content, ensure_ascii=False))
        return
    click.echo("Drafted (read and correct them):")
    for file in drafted.files:
        click.echo(f"  {file}")
    for path, reason in left_out.items():
        click.echo(f"Left out: {path}: {reason}")
    click.echo(f"\nWhat to do next: read the drafts, then\n  export BAROMETER_CONFIG={target / 'pipeline.toml'}")
    click.echo("  barometer config check")
