"""The conservation law: subjects = predictions + quarantined, each exactly once, counted in the files.

Used by `pipeline.weekly.check`. The entry point is `check_conserved`.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pipeline.duck import literal, parquet
from pipeline.errors import ConservationError

_FAULTS = {
    "neither predicted nor quarantined": "in_predictions = 0 AND in_quarantine = 0",
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

    `parts` are the predictions for the snapshot's `shards`, in the same order. `subjects` and `quarantined` are the
    expected numbers, as handed over by the snapshot and its validation.

    Raises
    ------
    ConservationError
        If a subject is missing, is there twice or is unknown.
    """
    found = Counter[str]()
    # All rows of a subject are in one shard, so shards are counted one by one, in bounded memory.
    for number, (shard, part) in enumerate(zip(shards, parts, strict=True)):
        found += _counted(con, number, shard, part, quarantine)
    predicted = found["predicted"]
    if (predicted, found["quarantined"]) != (subjects - quarantined, quarantined):
        raise ConservationError(
            f"The files hold {found.total()} subjects, {predicted} predicted, {found['quarantined']} quarantined.",
            f"{subjects} subjects, {subjects - quarantined} predicted, {quarantined} quarantined.",
            "run the week again with rebuild; the files no longer match the numbers that were handed over.",
        )
    return predicted


def _counted(con: duckdb.DuckDBPyConnection, number: int, shard: Path, part: Path, quarantine: Path) -> Counter[str]:
    """Return how many subjects of a shard are predicted and how many quarantined."""
    try:
        rows = con.execute(_counting_sql(number, shard, part, quarantine)).fetchall()
    except duckdb.Error as error:
        raise ConservationError(
            f"The files of shard {number} cannot be read: {error}.",
            f"{shard}, {part} and {quarantine} as the run wrote them.",
            "run the week again with rebuild, which makes its files again.",
        ) from None
    found = {state: (subjects, example) for state, subjects, example in rows}
    for fault in _FAULTS:
        if fault in found:
            subjects, example = found[fault]
            raise ConservationError(
                f"In shard {number}, {subjects} subjects are {fault}, for example {example}.",
                "every subject of the snapshot either predicted or quarantined, exactly once.",
                "clear the scoring task of this shard and let it run again; if it happens again, someone changed the "
                "run's files, or scoring has a bug.",
            )
    return Counter({state: subjects for state, (subjects, _) in found.items()})


def _counting_sql(number: int, shard: Path, part: Path, quarantine: Path) -> str:
    keys = "SELECT customer_id, product_id"
    faults = " ".join(f"WHEN {condition} THEN {literal(fault)}" for fault, condition in _FAULTS.items())
    return f"""
        SELECT
            CASE {faults} WHEN in_predictions > 0 THEN 'predicted' ELSE 'quarantined' END AS state,
            count(*) AS subjects, min((customer_id, product_id)::TEXT) AS example
        FROM (
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
        GROUP BY state
    """
