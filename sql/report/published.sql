-- The latest published weeks up to the report's, newest first.
SELECT week, run_id
FROM published_weeks
WHERE week <= $week
ORDER BY week DESC
LIMIT 12
