"""`barometer score`: predict a file of feature rows."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from pipeline.cli.console import FILE, StageProgress, aligned, to_json
from pipeline.errors import ConfigError
from pipeline.files import sha256_of_file
from pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipeline.batch_jobs.result_formats import Form

SUFFIXES: "dict[str, Form]" = {".csv": "csv", ".jsonl": "jsonlines", ".ndjson": "jsonlines", ".parquet": "parquet"}


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--to", type=FILE, help="The file to write. [default: standard output]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonlines", "parquet"]),
    help="The format of the results. [default: from the name of --to, else csv]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON instead of the results.")
def score(file: str, to: Path | None, form: "Form | None", *, as_json: bool) -> None:
    """Predict each row of a file of features.

    FILE is a CSV with a header, JSON Lines or Parquet file, each also with .gz, or a URI below a prefix that
    service.file_sources lists. Its columns are the model's features in any order and, optionally, customer_id and
    product_id. Runs the DAG score_file. The results have one line for each row, with its prediction or the reason why
    it has none.

    \b
    Examples:
      barometer score rows.csv
      barometer score rows.parquet --to predictions.parquet
    """
    from pipeline.batch_jobs.result_formats import stream_results

    done = score_file(load_settings(), file)
    if to is not None or not as_json:
        named = SUFFIXES.get(to.suffix.lower()) if to else None
        with click.open_file(str(to or "-"), "wb", atomic=True) as output:
            for piece in stream_results(Path(done["results"]), form or named or "csv"):
                output.write(piece)
    if as_json:
        click.echo(to_json(done))


def score_file(settings: Settings, file: str) -> dict[str, Any]:
    """Run the DAG on a file with progress; print and return the summary."""
    from pipeline.batch_jobs.places import DAG_ID
    from pipeline.orchestration.dag_runs import run_dag

    given = {"uri": file} if "://" in file else {"file": _hand_in(settings, Path(file))}
    params = {"file": None, "uri": None, "format": None, **given}
    with StageProgress("Scoring a file") as progress:
        done = run_dag(settings, DAG_ID, params, result_of="finish", watch=progress.watch)
    rows = [
        ("rows", f"{done['rows']:,}"),
        ("predicted", f"{done['predicted']:,}"),
        ("not readable", f"{done['unreadable']:,}"),
        ("quarantined", f"{done['quarantined']:,}"),
        ("model version", done["model_version"]),
        *(("warning", warning) for warning in done["warnings"]),
        *([("ignored columns", ", ".join(done["ignored_columns"]))] if done["ignored_columns"] else []),
        ("results", done["results"]),
        *([("rejects", done["rejects"])] if done["predicted"] < done["rows"] else []),
    ]
    click.echo(aligned(rows), err=True)
    return done


def _hand_in(settings: Settings, file: Path) -> str:
    """Copy the file to where the DAG finds it, safe from later changes; return its name there."""
    from pipeline.batch_jobs.places import hand_in, incoming, suffix_of

    suffix = suffix_of(file.name)
    if suffix is None:
        raise ConfigError(
            f"The name {file} does not show a format.",
            "a name that ends in .csv, .jsonl or .parquet (each also with .gz).",
            "rename the file.",
        )
    copy = incoming(settings)
    try:
        shutil.copyfile(file, copy)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}.", "a file of feature rows.", "name another one."
        ) from None
    return hand_in(settings, f"file__{uuid4().hex}", copy, sha256_of_file(copy), suffix)
