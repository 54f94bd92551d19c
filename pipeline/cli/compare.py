"""`barometer models compare`: champion and challenger, measured by the labels known since."""

from typing import TYPE_CHECKING

import click

from pipeline.cli.console import WeekArgument
from pipeline.settings import load_settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.models.evaluation_metrics import Estimate
    from pipeline.promotion.comparison import Comparison, Trial

MODES = {"ab": "A/B test", "shadow": "In the shadow"}


@click.command()
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
    click.echo(found.model_dump_json(indent=1) if as_json else _describe(found))


def _describe(found: "Comparison") -> str:
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
