"""The conservation law: subjects = predictions + quarantined, each exactly once, counted in the files.

Used by `pipeline.weekly.check`. The entry point is `check_conserved`.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from pipeline.duck import parquet
from pipeline.errors import ConservationError

_FAULTS = {
    "neither predicted nor quarantined": "in_snapshot > 0 AND in_predictions = 0 AND in_quarantine = 0",
    "predicted more than once": "in_predictions > 1",
    "predicted and quarantined": "in_predictions > 0 AND in_quarantine > 0",
    "predicted or quarantined, but not in this shard of the snapshot": "in_snapshot = 0",
}


def check_conserved(
    con: duckdb.DuckDBPyConnection,
    *,
    shards: Sequence[Path],
    parts: Sequence[Path],
    quarantine: Path,
    subjects: int,
    quarantined: int,
) -> int:
    """Check that each subject is predicted once or quarantined; return the number predicted.

    Parameters
    ----------
    shards, parts
        The snapshot's shards and their predictions, in the same order.
    subjects, quarantined
        The expected numbers, as handed over by the snapshot and its validation.

    Raises
    ------
    ConservationError
        If a subject is missing, is there twice or is unknown.
    """
    found = {"subjects": 0, "predicted": 0, "quarantined": 0}
    # All rows of a subject are in one shard, so shards are counted one by one, in bounded memory.
    for number, (shard, part) in enumerate(zip(shards, parts, strict=True)):
        counted = _counted(con, number, shard, part, quarantine)
        found = {kind: total + counted[kind] for kind, total in found.items()}
    expected = {"subjects": subjects, "predicted": subjects - quarantined, "quarantined": quarantined}
    if found != expected:
        raise ConservationError(
            f"The files hold {_described(found)}.",
            f"{_described(expected)}.",
            "run the week again with rebuild; the files no longer match the numbers that were handed over.",
        )
    return found["predicted"]


def _counted(con: duckdb.DuckDBPyConnection, number: int, shard: Path, part: Path, quarantine: Path) -> dict[str, int]:
    try:
        row = con.execute(_counting_sql(number, shard, part, quarantine)).fetchone()
    except duckdb.Error as error:
        raise ConservationError(
            f"The files of shard {number} cannot be read: {error}.",
            f"{shard}, {part} and {quarantine} as the run wrote them.",
            "run the week again with rebuild, which makes its files again.",
        ) from None
    assert row is not None, "an aggregate has a row"
    for at, fault in enumerate(_FAULTS, 3):
        if row[at]:
            raise ConservationError(
                f"In shard {number}, {row[at]} subjects are {fault}, for example {row[at + len(_FAULTS)]}.",
                "every subject of the snapshot either predicted or quarantined, exactly once.",
                "clear the scoring task of this shard and let it run again; if it happens again, someone changed the "
                "run's files, or scoring has a bug.",
            )
    return dict(zip(("subjects", "predicted", "quarantined"), row[:3], strict=True))


def _counting_sql(number: int, shard: Path, part: Path, quarantine: Path) -> str:
    keys = "SELECT customer_id, product_id"
    conditions = ["in_snapshot > 0", "in_predictions > 0", "in_quarantine > 0", *_FAULTS.values()]
    counts = [f"count(*) FILTER ({condition})" for condition in conditions]
    examples = [f"min((customer_id, product_id)::TEXT) FILTER ({condition})" for condition in _FAULTS.values()]
    return f"""
        WITH subjects AS (
            SELECT
                customer_id, product_id,
                count_if(place = 1) AS in_snapshot, count_if(place = 2) AS in_predictions,
                count_if(place = 3) AS in_quarantine
            FROM (
                {keys}, 1 AS place FROM {parquet(shard)}
                UNION ALL {keys}, 2 FROM {parquet(part)}
                UNION ALL {keys}, 3 FROM {parquet(quarantine)} WHERE shard = {number}
            )
            GROUP BY customer_id, product_id
        )
        SELECT
            {", ".join([*counts, *examples])}
        FROM subjects
    """


def _described(numbers: dict[str, int]) -> str:
    return f"{numbers['subjects']} subjects, {numbers['predicted']} predicted, {numbers['quarantined']} quarantined"
