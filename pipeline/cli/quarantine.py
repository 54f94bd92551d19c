"""`barometer quarantine`: rejects of the sources and quarantined subjects."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import FILE, WeekArgument, aligned, to_json
from pipeline.errors import ConfigError
from pipeline.settings import Settings, load_settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.warehouse.kept_out.exported_rows import Format
    from pipeline.warehouse.runs import RunRecord

SUFFIXES: dict[str, "Format"] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@click.group()
def quarantine() -> None:
    """List, show and export rejects and quarantined subjects."""


def _run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select the run."""
    week = click.option("--week", type=WeekArgument(), help="The Monday that names the week. [default: the last run's]")
    return week(click.option("--run", "run_id", help="A run's id, as 2026-03-02.1.")(command))


@quarantine.command("list")
@_run_options
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON list of runs.")
def list_(week: Week | None, run_id: str | None, *, as_json: bool) -> None:
    """Count rejects by source and reason, and subjects by reason, with the error budgets.

    For a week, it lists the published run and the runs that were refused since.

    \b
    Examples:
      barometer quarantine list
      barometer quarantine list --run 2026-03-02.1 --json | jq '.[].sources'
    """
    from pipeline.warehouse.kept_out.listing import listing

    settings = load_settings()
    found = [listing(settings, run) for run in _runs(settings, week, run_id)]
    click.echo(to_json(found) if as_json else "\n\n".join(map(_describe_run, found)))


@quarantine.command()
@_run_options
@click.option("--source", help="A reject's source …")
@click.option("--line", type=click.IntRange(min=1), help="… its line …")
@click.option("--file", help="… and its file's name, if several files have such a line.")
@click.option("--customer", "customer_id", help="A quarantined subject's customer_id …")
@click.option("--product", "product_id", help="… and its product_id.")
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON list.")
def show(week: Week | None, run_id: str | None, *, as_json: bool, **named: Any) -> None:
    """Show one reject or quarantined subject completely.

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
        sought = ", ".join(f"{name} {value}" for name, value in only.items())
        raise ConfigError(
            f"The run {run.run_id} kept out nothing with {sought}.",
            "a reject or a quarantined subject of the run.",
            f"see what there is: barometer quarantine list --run {run.run_id}.",
        )
    shown = [{"run_id": run.run_id, **_to_json_types(row)} for row in rows]
    click.echo(to_json(shown) if as_json else "\n\n".join(map(_describe_row, shown)))


@quarantine.command()
@_run_options
@click.option("--source", help="Export the rejects of this source, as lines of its own format.")
@click.option("--file", help="Export only the rejects of this file.")
@click.option("--subjects", is_flag=True, help="Export the quarantined subjects, as rows of features.")
@click.option(
    "--format", "form", type=click.Choice(list(SUFFIXES.values())), help="[default: from the name of the file]"
)
@click.option(
    "--to", "path", type=FILE, required=True, help="The file to write; a name that ends in .gz compresses it."
)
def export(
    week: Week | None, run_id: str | None, form: "Format | None", path: Path, *, subjects: bool, **rejects: str | None
) -> None:
    """Export rejects or quarantined subjects to a file.

    Rejects are exported as the lines of their file, under its header. Correct them and put the file into the landing
    zone. Subjects are exported with the columns of their snapshot.

    \b
    Examples:
      barometer quarantine export --source tickets --to tickets.jsonl
      barometer quarantine export --subjects --run 2026-03-02.1 --to kept-out.parquet
    """
    from pipeline.warehouse.kept_out.exported_rows import export_rejects, export_subjects

    source, file = rejects["source"], rejects["file"]
    if (source is None) != subjects:
        raise click.UsageError("Give either --source or --subjects.")
    form = form or _format_of(path)
    settings = load_settings()
    run = _last(_runs(settings, week, run_id))
    if source is None:
        rows, what = export_subjects(settings, run, form, path), "rows of features"
    else:
        rows, what = export_rejects(settings, run, form, path, name=source, file=file), "rejects"
    click.echo(f"{rows:,} {what} of {run.run_id} are in {path}.")


def _format_of(path: Path) -> "Format":
    name = path.with_suffix("") if path.suffix == ".gz" else path
    if name.suffix not in SUFFIXES:
        raise click.UsageError(f"The name {path.name} does not show a format: give --format.")
    return SUFFIXES[name.suffix]


def _runs(settings: Settings, week: Week | None, run_id: str | None) -> list["RunRecord"]:
    from pipeline.warehouse import runs
    from pipeline.warehouse.kept_out.queries import runs_to_look_at

    if run_id is not None and week is not None:
        raise click.UsageError("Give either --week or --run.")
    return [runs.run(settings, run_id)] if run_id is not None else runs_to_look_at(settings, week)


def _last(runs: list["RunRecord"]) -> "RunRecord":
    """Return the last run that read its sources; the others have neither rejects nor quarantined subjects."""
    return next((run for run in reversed(runs) if run.sources is not None), runs[-1])


def _describe_run(found: dict[str, Any]) -> str:
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


def _to_json_types(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row as JSON types: bytes in base64, features as objects."""
    if "rows" in row:
        return {**row, "rows": json.loads(row["rows"])}
    content = row.get("content_bytes")
    return row if content is None else {**row, "content_bytes": base64.b64encode(content).decode()}


def _describe_row(row: dict[str, Any]) -> str:
    cells = [(name, value) for name, value in row.items() if value is not None and name not in {"reasons", "rows"}]
    cells += [("reason", reason) for reason in row.get("reasons", [])]
    cells += [cell for features in row.get("rows", []) for cell in features.items()]
    return aligned(cells, indent="")
