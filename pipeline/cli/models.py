"""`barometer models`: the model versions, their history and their metrics."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.compare import compare
from pipeline.cli.console import aligned, to_json
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from pipeline.models.role_history import Entry
    from pipeline.promotion.overview import Files, Overview

COLUMNS = f"{'version':<9}{'state':<25}{'from week':<12}{'weeks':>6}{'ROC AUC':>9}{'Brier':>8}  why"


@click.group(invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """List, show, compare and export model versions.

    Without a subcommand, it lists them.

    \b
    Examples:
      barometer models
      barometer models show 3
      barometer models compare
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, with their history.")
def list_models(*, as_json: bool = False) -> None:
    """List all versions, the latest first, with their state, published weeks, metrics and reason."""
    from pipeline.promotion.overview import overview

    found = overview(load_settings())
    if as_json:
        click.echo(to_json([version.model_dump(mode="json") for version in found]))
    elif not found:
        click.echo("There is no version yet: barometer train makes one.")
    else:
        click.echo("\n".join([COLUMNS, *(_line(version) for version in found)]))


@models.command()
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(version: str, *, as_json: bool) -> None:
    """Show one version: its training data, metrics, files, and history with the gate's checks."""
    from pipeline.promotion.overview import files_of, overview

    settings = load_settings()
    (found,) = overview(settings, version)
    files = files_of(settings, version)
    facts = {**found.model_dump(mode="json"), "files": files.model_dump(mode="json")}
    click.echo(to_json(facts) if as_json else _describe(found, files))


@models.command()
@click.argument("version")
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path),
    help="A new folder, or a new archive if the name ends in .tar.gz.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was exported as JSON.")
def export(version: str, *, to: Path, as_json: bool) -> None:
    """Export the files that are needed to serve a version without registry and warehouse.

    VERSION is a number, or current for the champion. Set service.model_folder to the folder where it is served. It
    suits SageMaker (model.tar.gz), Vertex AI (artifact folder) and Azure ML (model).

    \b
    Examples:
      barometer models export current --to model.tar.gz
      barometer models export 3 --to /srv/model
    """
    from pipeline.models.exported_versions import export_version

    made = export_version(load_settings(), version, to)
    click.echo(made.model_dump_json(indent=1) if as_json else f"Version {made.version} of the model {made.name}: {to}")


models.add_command(compare)


def _line(version: "Overview") -> str:
    auc, brier = (f"{version.metrics[name]:.3f}" if name in version.metrics else "" for name in ("roc_auc", "brier"))
    return (
        f"{version.version:<9}{version.state:<25}{version.from_week or '':<12}{len(version.published_weeks):>6}"
        f"{auc:>9}{brier:>8}  {version.why}"
    )


def _describe(version: "Overview", files: "Files") -> str:
    weeks = version.published_weeks
    rows = [
        ("state", version.state),
        ("why", version.why),
        ("in force from", version.from_week or "never"),
        ("published weeks", f"{len(weeks)}, {weeks[0]} to {weeks[-1]}" if weeks else "none"),
        ("registered", f"{version.registered_at:%Y-%m-%d %H:%M} UTC"),
        ("files", f"{files.words} ({files.folder})"),
    ]
    if files.training:
        made_from = files.training
        rows += [
            ("training cutoff", f"{made_from.cutoff:%Y-%m-%d %H:%M} UTC"),
            ("test weeks", ", ".join(made_from.test_weeks)),
            ("training set", f"{made_from.rows:,} rows, sha256 {made_from.digest}"),
            ("code", files.code_version or ""),
            ("parameters", ", ".join(f"{name} {value}" for name, value in files.parameters.items())),
        ]
    rows += [(name, f"{value:,.4f}".removesuffix(".0000")) for name, value in version.metrics.items()]
    lines = [f"Version {version.version}", aligned(rows), "", "History:"]
    return "\n".join([*lines, *(line for entry in version.history for line in _history(entry))])


def _history(entry: "Entry") -> list[str]:
    moved = f"{entry.role} {entry.from_version or 'none'} → {entry.to_version or 'none'}"
    what = f"{entry.kind}, {entry.state}, from week {entry.from_week}, by {entry.promoted_by}: {entry.reason}"
    lines = [f"  {entry.promoted_at:%Y-%m-%d %H:%M}  {moved}: {what}"]
    lines += [f"      repaired: {entry.repaired}"] if entry.repaired else []
    return lines + [
        f"      {'passed' if check['passed'] else 'FAILED'}  {check['name']}: {check['words']}"
        for check in entry.checks
    ]
