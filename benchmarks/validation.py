"""What validation costs: 48 expectations on a snapshot, a week whose every row fails, and the conservation check.

    python -m benchmarks.validation [ROWS]

Each part runs in a process of its own, on 2 threads and 600 MB for DuckDB, and prints its seconds (after the imports)
and its peak memory.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb

from pipeline.duck import literal
from pipeline.files import sha256_of_file
from pipeline.manifests import KEYS, FeatureColumn, Shard, SnapshotManifest
from pipeline.validation.conservation import check_conserved
from pipeline.validation.quarantine import (
    COLUMNS,
    Failure,
    built_in_failures,
    create_view,
    rows_kept_out,
    write_quarantine,
)
from pipeline.validation.suites import ExpectationSpec, Suite
from pipeline.weeks import Week

WEEK = Week.parse("2026-03-02")
SHARD_ROWS = 250_000
NUMBERS = [f"number_{index}" for index in range(20)]
LIMITS = {"all pass": 100.0, "all fail": -1.0}


def main(rows: int) -> None:
    """Make a snapshot of `rows` rows, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        manifest = make_snapshot(home, rows)
        for name, limit in LIMITS.items():
            report(f"48 expectations, {name}", in_process(validate_and_quarantine, home, manifest, limit))
        report("conservation", in_process(conserve, home, manifest))


def make_snapshot(home: Path, rows: int) -> SnapshotManifest:
    """Write the shards and, as their predictions, the keys again."""
    shards = []
    numbers = ", ".join(f"(hash(i, {at}) % 10000 / 100)::FLOAT AS {name}" for at, name in enumerate(NUMBERS))
    for number in range(0, rows, SHARD_ROWS):
        file = home / f"shard-{number:08d}.parquet"
        subjects = f"range({number}, {min(rows, number + SHARD_ROWS)}) AS subjects (i)"
        query = (
            f"SELECT 'customer ' || i AS customer_id, 'p' || i % 7 AS product_id, {numbers}, 'abc'[1 + i % 3] AS kind"
        )
        duckdb.execute(f"COPY ({query} FROM {subjects}) TO {literal(file)}")
        shards.append(Shard(file=file.name, rows=min(rows - number, SHARD_ROWS), digest=sha256_of_file(file)))
    names = [*((name, "number") for name in NUMBERS), ("kind", "category")]
    return SnapshotManifest.model_validate(
        {
            "week": str(WEEK),
            "cutoff": "2026-03-09T00:00:00Z",
            "sql_digest": "",
            "columns": [FeatureColumn.model_validate({"name": name, "kind": kind}) for name, kind in names],
            "rows": rows,
            "subjects": rows,
            "shards": shards,
            "sources": {},
        }
    )


def suite(limit: float) -> Suite:
    """Return 48 expectations; those on the numbers' range fail for every number above `limit`."""
    per_number: dict[str, dict[str, float]] = {
        "expect_column_values_to_not_be_null": {},
        "expect_column_values_to_be_between": {"max_value": limit},
    }
    specs = [
        ExpectationSpec(type=kind, kwargs={"column": name, **kwargs}, severity="critical")
        for name in NUMBERS
        for kind, kwargs in per_number.items()
    ]
    specs += [
        ExpectationSpec(
            type="expect_column_mean_to_be_between", kwargs={"column": name, "min_value": 0}, severity="warning"
        )
        for name in NUMBERS[:5]
    ]
    others: dict[str, dict[str, Any]] = {
        "expect_column_values_to_be_in_set": {"column": "kind", "value_set": ["a", "b", "c"]},
        "expect_compound_columns_to_be_unique": {"column_list": KEYS},
        "expect_table_row_count_to_be_between": {"min_value": 1},
    }
    specs += [ExpectationSpec(type=kind, kwargs=kwargs, severity="critical") for kind, kwargs in others.items()]
    return Suite("features", Path("features.json"), dict(enumerate(specs)), {})


def connected(home: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection bounded as the pipeline's."""
    bounds: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": "600MB",
        "threads": 2,
        "temp_directory": str(home / "tmp"),
    }
    con = duckdb.connect(config=bounds)
    con.execute("SET enable_progress_bar = false")
    return con


def validate_and_quarantine(home: Path, manifest: SnapshotManifest, limit: float) -> str:
    """Validate the snapshot and write its quarantine."""
    import great_expectations  # noqa: F401  # its import is not what is measured

    from pipeline.validation.gx import validate

    con = connected(home)
    files = [home / shard.file for shard in manifest.shards]
    create_view(con, manifest, files)
    started = time.perf_counter()
    evaluated = validate(con, "features", suite(limit), timezone="UTC", index=KEYS)
    validated = time.perf_counter()
    _, failures = built_in_failures(con, manifest)
    failures += [Failure(result, query, ["value"]) for result, query in evaluated.queries]
    write_quarantine(con, home / "quarantine.parquet", list(COLUMNS), rows_kept_out(con, manifest, files, failures))
    ((quarantined,),) = con.execute("SELECT count(DISTINCT (customer_id, product_id)) FROM quarantine").fetchall()
    return (
        f"{validated - started:.1f} s, quarantine {time.perf_counter() - validated:.1f} s:"
        f" {quarantined} subjects for {len(failures)} reasons"
    )


def conserve(home: Path, manifest: SnapshotManifest) -> str:
    """Check the conservation law, the snapshot's shards being their own predictions."""
    con = connected(home)
    con.execute(
        "COPY (SELECT 0::INTEGER AS shard, 0::BIGINT AS row, '' AS customer_id, '' AS product_id LIMIT 0)"
        f" TO {literal(home / 'nobody.parquet')}"
    )
    files = [home / shard.file for shard in manifest.shards]
    started = time.perf_counter()
    check_conserved(
        con, shards=files, parts=files, quarantine=home / "nobody.parquet", subjects=manifest.subjects, quarantined=0
    )
    return f"{time.perf_counter() - started:.1f} s"


def in_process(part: Callable[..., str], *arguments: object) -> tuple[str, float]:
    """Run `part` in a fresh process; return its words and the peak of its memory in MiB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, part, *arguments).result()


def _measured(part: Callable[..., str], *arguments: object) -> tuple[str, float]:
    words = part(*arguments)
    return words, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(name: str, measured: tuple[str, float]) -> None:
    """Print one line."""
    print(f"{name:<28} {measured[0]}, peak {measured[1]:.0f} MiB", flush=True)


def arguments(argv: Sequence[str]) -> int:
    """Return the number of rows asked for."""
    return int(argv[1]) if len(argv) > 1 else 1_000_000


if __name__ == "__main__":
    main(arguments(sys.argv))
