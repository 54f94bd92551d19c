-- Rejects of the files the run read, by source and reason.
SELECT source, reason, count(*) AS rejects
FROM run_rejects
WHERE run_id = $run_id
GROUP BY source, reason
ORDER BY rejects DESC, source, reason
LIMIT 20
