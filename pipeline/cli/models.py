"""`barometer models`: the model versions, their history and their metrics."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import PATH, WeekArgument, aligned, to_json
from pipeline.settings import load_settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.models.evaluation_metrics import Estimate
    from pipeline.models.role_history import Entry
    from pipeline.promotion.comparison import Comparison, Trial
    from pipeline.promotion.overview import Files, Overview

COLUMNS = f"{'version':<9}{'state':<25}{'from week':<12}{'weeks':>6}{'ROC AUC':>9}{'Brier':>8}  why"
MODES = {"ab": "A/B test", "shadow": "In the shadow"}


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
@click.option("--to", required=True, type=PATH, help="A new folder, or a new archive if the name ends in .tar.gz.")
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


@models.command()
@click.option("--challenger", metavar="VERSION", help="The challenger's version. [default: the latest week's]")
@click.option(
    "--as-of",
    type=WeekArgument(),
    help="Use the labels known at this week's end. [default: the last complete week whose sources exist]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(challenger: str | None, as_of: Week | None, *, as_json: bool) -> None:
    """Compare the challenger with the champion.

    Prints the metrics of both with 95 % intervals, the differences, and whether they are more than chance. The
    comparison uses the published weeks in which both took part and the labels known since. In an A/B test each is
    measured on its own customers, in the shadow both on the same ones.

    \b
    Examples:
      barometer models compare
      barometer models compare --challenger 3 --as-of 2026-03-30 --json | jq '.trials[].verdict'
    """
    from pipeline.promotion.comparison import compare as compared

    found = compared(load_settings(), challenger=challenger, as_of=as_of)
    click.echo(found.model_dump_json(indent=1) if as_json else _describe_comparison(found))


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


def _describe_comparison(found: "Comparison") -> str:
    head = (
        f"Version {found.challenger} (challenger) and version {found.champion} (champion), with the labels known"
        f" at {found.cutoff:%Y-%m-%d %H:%M} UTC."
    )
    weeks = [week for trial in found.trials for week in trial.weeks]
    ripe = f"{len(found.matured)} of {len(weeks)} weeks have matured; the others' labels are still arriving."
    return "\n\n".join([head, *([ripe] if len(found.matured) < len(weeks) else []), *map(_trial_table, found.trials)])


def _trial_table(trial: "Trial") -> str:
    sides = (trial.champion, trial.challenger)
    rows = [
        ("", *(f"version {side.model_version}" for side in sides), "difference"),
        ("labels known", *(f"{side.labels:,} of {side.predictions:,}" for side in sides), ""),
        *(
            (name, *(_number(side.metrics[name]) for side in sides), _difference(trial, name))
            for name in trial.champion.metrics
        ),
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    table = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([f"{MODES[trial.mode]}, weeks {', '.join(trial.weeks)}:", *table, f"  {trial.verdict}"])


def _number(estimate: "Estimate") -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _difference(trial: "Trial", name: str) -> str:
    if name not in trial.differences:
        return "not compared, because fewer rows alone increase it"
    found = trial.differences[name]
    verdict = "chance" if found.low <= 0 <= found.high else "more than chance"
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}), {verdict}"
