"""What became of the rows that a run kept out, after `barometer replay` has built the week again.

Every row has one outcome. A subject is found by its key, a reject by its place:

- In a file whose bytes are the same, since only its declaration was corrected, a reject is found by its line number.
- In a file that was delivered anew, content comes first: a line with the same text that is rejected again is still
  rejected, wherever it is now. A line whose text has changed is found by the nearest line above it that is in both
  files: the line that is now equally far below that one has taken its place. If that line is a row, the reject is
  read now; if it is another reject, it is still rejected; if there is none, the reject is no longer in the data. So
  lines may be corrected, removed and added at once. If a file was sorted anew, its corrected lines count as gone.
- A reject is no longer in the data if its file is not read any more, neither under its name nor, with the same bytes,
  under another name.

The entry points are `run_before`, called before the week is built again, and `replayed`, called after it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import text

from pipeline.duck import connection, literal, parquet, quoted
from pipeline.errors import ConservationError, WeekError
from pipeline.manifests import SourceFile, SourceRead
from pipeline.settings import Settings
from pipeline.sources.casts import RAW, REASON
from pipeline.warehouse import transaction
from pipeline.warehouse.kept_out.listing import SUBJECTS
from pipeline.warehouse.runs import RunRecord, published_run, run
from pipeline.weeks import Week

REJECT_OUTCOMES = ("read now", "still rejected", "no longer in the data")
SUBJECT_OUTCOMES = ("predicted now", "still in quarantine", "no longer a subject")
REJECTS_SCHEMA = pa.schema(
    (name, pa.int64() if name.startswith("line") else pa.string())
    for name in ("source", "uri", "line", "reason", "outcome", "line_now", "reason_now")
)


@dataclass(frozen=True)
class Replayed:
    """The outcome of every row that the run `before` had kept out."""

    before: RunRecord
    now: RunRecord
    rejects: pa.Table
    """With `REJECTS_SCHEMA`; `line_now` and `reason_now` are NULL if there is none."""
    subjects: list[dict[str, Any]]
    """With customer_id, product_id, reasons, outcome, satisfaction and reasons_now."""


def run_before(settings: Settings, week: Week) -> RunRecord:
    """Return the run whose kept-out rows a replay accounts for: the published run, else the last that read the data.

    Raises
    ------
    WeekError
        If no run has read the week's data, or the rows that it read are gone.
    """
    query = text(
        "SELECT run_id FROM prediction_runs WHERE week = :week AND sources IS NOT NULL ORDER BY n DESC LIMIT 1"
    )
    with transaction(settings) as warehouse:
        last = warehouse.execute(query, {"week": week.monday}).scalar()
    before = published_run(settings, week) or (run(settings, last) if last else None)
    if before is None:
        raise WeekError(
            f"No run of the week {week} has read its data.",
            "a week that was published, or refused because of its data.",
            f"run it: barometer run --week {week}.",
        )
    gone = [file.parquet for _, file in _files(before) if file.rejects and not file.parquet.exists()]
    if gone:
        raise WeekError(
            f"The rows that the run {before.run_id} read are no longer here: {gone[0]}.",
            "these rows, to compare them with what is read now.",
            f"run barometer run --week {week} --rebuild: it rebuilds the week without saying what became of them.",
        )
    return before


def replayed(settings: Settings, before: RunRecord, now: RunRecord) -> Replayed:
    """Return what became of every row that `before` kept out, now that `now` is published.

    Raises
    ------
    WeekError
        If another run of the week was published meanwhile.
    ConservationError
        If there are fewer or more outcomes than rows.
    """
    published = published_run(settings, Week(now.week))
    if published is None or published.run_id != now.run_id:
        raise WeekError(
            f"The run {now.run_id} was published, but another run took its place.",
            "only one run of a week at a time.",
            f"replay the week again: barometer replay --week {now.week}.",
        )
    result = Replayed(before, now, reject_outcomes(settings, before, now), subject_outcomes(settings, before, now))
    with transaction(settings) as warehouse:
        subjects = warehouse.execute(text(SUBJECTS), {"run_id": before.run_id}).scalar_one()
    kept_out = sum(file.rejects for _, file in _files(before)), subjects
    if (result.rejects.num_rows, len(result.subjects)) != kept_out:
        raise ConservationError(
            f"{result.rejects.num_rows} rejects and {len(result.subjects)} quarantined subjects have an outcome.",
            f"{kept_out[0]} and {kept_out[1]}: all that the run {before.run_id} kept out.",
            f"report this with the ids of both runs; {now.run_id} is published all the same.",
        )
    return result


def _files(record: RunRecord) -> list[tuple[str, SourceFile]]:
    return [
        (name, file) for name, read in (record.sources or {}).items() for file in SourceRead.model_validate(read).files
    ]


def reject_outcomes(settings: Settings, before: RunRecord, now: RunRecord) -> pa.Table:
    """Return the outcome of every reject of `before`, as `REJECTS_SCHEMA`."""
    files_now = _files(now)
    parts = [REJECTS_SCHEMA.empty_table()]
    for name, file in _files(before):
        if file.rejects:
            same_uri = [other for source, other in files_now if (source, other.uri) == (name, file.uri)]
            same_bytes = [other for source, other in files_now if (source, other.digest) == (name, file.digest)]
            with connection(settings) as con:
                parts.append(_file_outcomes(con, name, file, next(iter(same_uri + same_bytes), None)))
    return pa.concat_tables(parts)


def _file_outcomes(con: duckdb.DuckDBPyConnection, name: str, old: SourceFile, new: SourceFile | None) -> pa.Table:
    """Return the outcomes of one file's rejects; `new` is the file that is read in its place, if there is one."""
    _create_tables(con, old.parquet, new.parquet if new else old.parquet)
    if new is None:
        found = "SELECT line, line AS line_now, reason AS reason_now FROM old_lines WHERE false"
    elif new.digest == old.digest:
        found = "SELECT line, line AS line_now, reason AS reason_now FROM new_lines"
    else:
        found = SAME_PLACES
    is_read, is_rejected, is_gone = map(literal, REJECT_OUTCOMES)
    query = f"""
        SELECT
            {literal(name)} AS source, {literal(old.uri)} AS uri, line, reason,
            CASE
                WHEN line_now IS NULL THEN {is_gone} WHEN reason_now IS NULL THEN {is_read} ELSE {is_rejected}
            END AS outcome,
            line_now, reason_now
        FROM old_lines LEFT JOIN ({found}) AS found USING (line)
        WHERE reason IS NOT NULL
        ORDER BY line
    """
    return con.sql(query).to_arrow_table().cast(REJECTS_SCHEMA)


def _create_tables(con: duckdb.DuckDBPyConnection, old: Path, new: Path) -> None:
    """Create `old_lines` and `new_lines`, whose `same` is equal for equal rows and for equal rejects.

    Rows are compared in the columns that both files were read with; `copy` numbers those that are equal.
    """
    described = [set(con.execute(f"DESCRIBE SELECT * FROM {parquet(path)}").fetchall()) for path in (old, new)]
    columns = sorted(str(name) for name, *_ in described[0] & described[1] if not str(name).startswith("__"))
    cells = ", ".join(["0", *map(quoted, columns)])
    for name, path in (("old_lines", old), ("new_lines", new)):
        con.execute(
            f"""
            CREATE TABLE {name} AS
            SELECT
                __line AS line, {REASON} AS reason, row_number() OVER (ORDER BY __line) AS number,
                coalesce('reject ' || {RAW}, 'row ' || hash({cells})) AS same,
                row_number() OVER (PARTITION BY same ORDER BY __line) AS copy
            FROM {parquet(path)}
            """
        )


SAME_PLACES = """
WITH kept AS (
    SELECT old_lines.number, new_lines.number AS number_now FROM old_lines INNER JOIN new_lines USING (same, copy)
    UNION ALL
    SELECT 0, 0  -- the header
),
old_places AS (
    SELECT old_lines.*, kept.number AS kept_line, old_lines.number - kept.number AS below
    FROM old_lines ASOF JOIN kept ON old_lines.number >= kept.number
),
new_places AS (
    SELECT new_lines.*, kept.number AS kept_line, new_lines.number - kept.number_now AS below
    FROM new_lines ASOF JOIN kept ON new_lines.number >= kept.number_now
)
SELECT old_places.line, new_places.line AS line_now, new_places.reason AS reason_now
FROM old_places INNER JOIN new_places USING (kept_line, below)
"""
"""Pairs of lines in the same place: equally far below the nearest line at or above them that both files have."""


def subject_outcomes(settings: Settings, before: RunRecord, now: RunRecord) -> list[dict[str, Any]]:
    """Return the outcome of every subject that `before` has in quarantine, by customer and product."""
    is_predicted, is_kept_out, is_gone = map(literal, SUBJECT_OUTCOMES)
    query = text(
        f"""
        SELECT
            old.customer_id, old.product_id, old.reasons,
            CASE
                WHEN served.run_id IS NOT NULL THEN {is_predicted}
                WHEN new.run_id IS NOT NULL THEN {is_kept_out} ELSE {is_gone}
            END AS outcome,
            served.satisfaction, new.reasons AS reasons_now
        FROM quarantine AS old
        LEFT JOIN quarantine AS new
            ON new.run_id = :now
            -- as text, so that NULL equals NULL
            AND row(new.customer_id, new.product_id)::text = row(old.customer_id, old.product_id)::text
        LEFT JOIN predictions AS served
            ON served.week = :week AND served.run_id = :now
            AND served.customer_id = old.customer_id AND served.product_id = old.product_id
        WHERE old.run_id = :before
        ORDER BY old.customer_id, old.product_id
        """
    )
    runs = {"before": before.run_id, "now": now.run_id, "week": now.week}
    with transaction(settings) as warehouse:
        return [dict(row) for row in warehouse.execute(query, runs).mappings()]
