-- sqlfluff:dialect:duckdb
-- What stands, in a file delivered anew, in the place of each reject of the old file; pipeline/warehouse/kept_out/replayed.py
-- tells the rules. old_lines and new_lines have a line's number, its reason when it is a reject, and `same`, which is
-- equal for equal rows and for equal rejects.
WITH lines AS (
    SELECT TRUE AS is_old, line, reason, same FROM old_lines
    UNION ALL
    SELECT FALSE AS is_old, line, reason, same FROM new_lines
),

counted AS (
    SELECT
        is_old,
        line,
        reason,
        same,
        row_number() OVER (PARTITION BY is_old, reason IS NULL, same ORDER BY line) AS copy,
        least(count_if(is_old) OVER equal, count_if(NOT is_old) OVER equal) AS in_both
    FROM lines
    WINDOW equal AS (PARTITION BY reason IS NULL, same)
),

placed AS (
    SELECT
        is_old,
        line,
        reason,
        same,
        copy,
        copy <= in_both AS is_in_both,
        count_if(reason IS NULL AND copy <= in_both) OVER (PARTITION BY is_old ORDER BY line) AS place
    FROM counted
),

changed AS (
    SELECT is_old, line, reason, place, row_number() OVER (PARTITION BY is_old, place ORDER BY line) AS turn
    FROM placed
    WHERE NOT is_in_both
)

SELECT old.line, new.line AS line_now, new.reason AS reason_now
FROM placed AS old
INNER JOIN placed AS new ON old.same = new.same AND old.copy = new.copy
WHERE old.is_old AND old.reason IS NOT NULL AND NOT new.is_old AND new.reason IS NOT NULL
UNION ALL
SELECT old.line, new.line AS line_now, new.reason AS reason_now
FROM changed AS old
INNER JOIN changed AS new ON old.place = new.place AND old.turn = new.turn
WHERE old.is_old AND old.reason IS NOT NULL AND NOT new.is_old
