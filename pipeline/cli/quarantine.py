"""`barometer quarantine`: what runs kept out, rejects of the sources and quarantined subjects alike."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import WeekArgument, aligned
from pipeline.errors import ConfigError
from pipeline.settings import Settings, load_settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.warehouse.kept_out.exported_rows import Format
    from pipeline.warehouse.runs import RunRecord

SUFFIXES: dict[str, "Format"] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@click.group()
def quarantine() -> None:
    """List, show and export what was kept out: rejects and quarantined subjects, whole and with the reasons."""


def _which_run(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which run is meant."""
    week = click.option("--week", type=WeekArgument(), help="The Monday that names the week. [default: the last run's]")
    return week(click.option("--run", "run_id", help="A run's id, as 2026-03-02.1.")(command))


@quarantine.command("list")
@_which_run
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON list of runs.")
def list_(week: Week | None, run_id: str | None, *, as_json: bool) -> None:
    """Count what was kept out, run by run: rejects by source and reason, subjects by reason, and the budgets.

    Of a week: its published run and those refused since.

    \b
    Examples:
      barometer quarantine list
      barometer quarantine list --run 2026-03-02.1 --json | jq '.[].sources'
    """
    from pipeline.warehouse.kept_out.listing import listing

    settings = load_settings()
    found = [listing(settings, run) for run in _runs(settings, week, run_id)]
    click.echo(json.dumps(found, indent=1) if as_json else "\n\n".join(map(_listed, found)))


@quarantine.command()
@_which_run
@click.option("--source", help="A reject: its source …")
@click.option("--line", type=click.IntRange(min=1), help="… its line …")
@click.option("--file", help="… and its file's name, where several have such a line.")
@click.option("--customer", "customer_id", help="A quarantined subject: its customer_id …")
@click.option("--product", "product_id", help="… and its product_id.")
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON list.")
def show(week: Week | None, run_id: str | None, *, as_json: bool, **named: Any) -> None:
    """Show a reject or a quarantined subject, whole.

    \b
    Examples:
      barometer quarantine show --source tickets --line 17
      barometer quarantine show --customer c-001 --product p-7 --run 2026-03-02.1
    """
    from pipeline.warehouse.kept_out import queries as kept_out

    only = {name: value for name, value in named.items() if value is not None}
    if set(only) - {"file"} not in ({"source", "line"}, {"customer_id", "product_id"}):
        raise click.UsageError("Give either --source and --line, or --customer and --product.")
    settings = load_settings()
    run = _last(_runs(settings, week, run_id))
    rows = (kept_out.rejects if "line" in only else kept_out.subjects)(settings, run.run_id, **only).to_pylist()
    if not rows:
        raise _nothing_there(run, only)
    shown = [{"run_id": run.run_id, **_readable(row)} for row in rows]
    click.echo(json.dumps(shown, indent=1) if as_json else "\n\n".join(map(_shown, shown)))


@quarantine.command()
@_which_run
@click.option("--source", help="Export the rejects of this source, as lines of its own format.")
@click.option("--file", help="Of the source, only the file of this name.")
@click.option("--subjects", is_flag=True, help="Export the quarantined subjects, as rows of features.")
@click.option(
    "--format", "form", type=click.Choice(list(SUFFIXES.values())), help="[default: as the name of the file says]"
)
@click.option(
    "--to",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; .gz compresses.",
)
def export(
    week: Week | None, run_id: str | None, form: "Format | None", path: Path, *, subjects: bool, **rejects: str | None
) -> None:
    """Write what was kept out to a file that can be read in again.

    Rejects leave as the lines of their file, under its header: correct them and drop the file into the landing zone.
    Subjects leave with the columns of their snapshot.

    \b
    Examples:
      barometer quarantine export --source tickets --to tickets.jsonl
      barometer quarantine export --subjects --run 2026-03-02.1 --to kept-out.parquet
    """
    from pipeline.warehouse.kept_out.exported_rows import Rejects, export_rejects, export_subjects

    source, file = rejects["source"], rejects["file"]
    if (source is None) != subjects:
        raise click.UsageError("Give either --source or --subjects.")
    form = form or _format_of(path)
    settings = load_settings()
    run = _last(_runs(settings, week, run_id))
    if source is None:
        rows, what = export_subjects(settings, run, form, path), "rows of features"
    else:
        rows, what = export_rejects(settings, run, Rejects(source, file), form, path), "rejects"
    click.echo(f"{rows:,} {what} of {run.run_id} are in {path}.")


def _format_of(path: Path) -> "Format":
    name = path.with_suffix("") if path.suffix == ".gz" else path
    if name.suffix not in SUFFIXES:
        raise click.UsageError(f"{path.name} does not say its format: give --format.")
    return SUFFIXES[name.suffix]


def _runs(settings: Settings, week: Week | None, run_id: str | None) -> list["RunRecord"]:
    from pipeline.warehouse import runs
    from pipeline.warehouse.kept_out.queries import runs_to_look_at

    if run_id is not None and week is not None:
        raise click.UsageError("Give either --week or --run.")
    return [runs.run(settings, run_id)] if run_id is not None else runs_to_look_at(settings, week)


def _last(runs: list["RunRecord"]) -> "RunRecord":
    """Return the last run that read its sources; the others kept nothing out."""
    return next((run for run in reversed(runs) if run.sources is not None), runs[-1])


def _listed(found: dict[str, Any]) -> str:
    lines = [f"Run {found['run_id']}, {found['state']}" + (f": {found['error']}" if found["error"] else "")]
    for name, facts in found["sources"].items():
        lines.append(
            f"  {name}: {facts['rejects']:,} rejects, {facts['new_rejects']:,} of them new, in files of "
            f"{facts['lines']:,} lines; new ones allowed: {_number(facts['allowed_rejects'])}"
        )
        lines += [f"    {count:>9,}  {reason}" for reason, count in facts["reasons"].items()]
    if not found["sources"]:
        lines.append("  no rejects")
    lines.append(
        f"  {found['quarantined']:,} of {_number(found['subjects'])} subjects in quarantine; "
        f"allowed: {_number(found['allowed_subjects'])}"
    )
    lines += [f"    {count:>9,}  {reason}" for reason, count in found["reasons"].items()]
    return "\n".join(lines)


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _nothing_there(run: "RunRecord", only: dict[str, Any]) -> ConfigError:
    sought = ", ".join(f"{name} {value}" for name, value in only.items())
    return ConfigError(
        f"The run {run.run_id} kept out nothing with {sought}.",
        "a reject or a quarantined subject of the run.",
        f"see what there is: barometer quarantine list --run {run.run_id}.",
    )


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row as JSON can hold it: bytes in base64, features taken apart."""
    row = dict(row)
    if "rows" in row:
        row["rows"] = json.loads(row["rows"])
    if row.get("content_bytes") is not None:
        row["content_bytes"] = base64.b64encode(row["content_bytes"]).decode()
    return row


def _shown(row: dict[str, Any]) -> str:
    cells = [(name, value) for name, value in row.items() if value is not None and name not in {"reasons", "rows"}]
    cells += [("reason", reason) for reason in row.get("reasons", [])]
    cells += [cell for features in row.get("rows", []) for cell in features.items()]
    return aligned([(name, str(value)) for name, value in cells], indent="")
