"""`barometer train`: train a new model version."""

import logging
from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import PATH, StageProgress, WeekArgument, aligned, to_json
from pipeline.settings import Settings, load_settings
from pipeline.weeks import Week


@click.command()
@click.option(
    "--as-of", type=WeekArgument(), help="The last week whose data the model may use. [default: the last complete week]"
)
@click.option(
    "--pipeline",
    type=PATH,
    metavar="FILE",
    help="Fit this scikit-learn pipeline (a skops file) instead of searching for one. See docs/own-model.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the registered version as JSON.")
def train(as_of: Week | None, pipeline: Path | None, *, as_json: bool) -> None:
    """Train and register a model version.

    Runs the DAG train_model. The first version becomes the champion. A version trained as of an earlier week also
    scores the weeks from then on that had no version, so that a backfill does not use later data.

    \b
    Examples:
      barometer train
      barometer train --as-of 2026-03-02
      barometer train --pipeline ours.skops
    """
    registered = train_version(load_settings(), as_of, pipeline)
    if as_json:
        click.echo(to_json(registered))


def train_version(settings: Settings, as_of: Week | None, pipeline: Path | None = None) -> dict[str, Any]:
    """Run the training DAG with progress; print and return the registered version."""
    from pipeline.orchestration.dag_runs import run_dag

    with StageProgress("Training a model") as progress, progress.showing(logging.getLogger("pipeline.training")):
        params = {"as_of": str(as_of) if as_of else None, "pipeline": str(pipeline.absolute()) if pipeline else None}
        registered = run_dag(settings, "train_model", params, result_of="register", watch=progress.watch)
    shown = ("roc_auc", "brier", "calibration_error")  # the registry has all metrics
    metrics = ", ".join(f"{name} {registered['metrics'][name]:.3f}" for name in shown)
    rows = [
        ("model version", registered["version"]),
        ("why", registered["reason"]),
        ("on the test weeks", metrics),
        ("reports", settings.site / "training/index.html"),
    ]
    click.echo(aligned(rows), err=True)
    return registered
