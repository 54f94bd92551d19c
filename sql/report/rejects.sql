-- Rejects of the files the run read, by source and reason.
SELECT rejects.source, rejects.reason, count(*) AS rejects
FROM prediction_runs
CROSS JOIN jsonb_each(prediction_runs.sources) AS read_sources (source, facts)
CROSS JOIN jsonb_array_elements(read_sources.facts -> 'files') AS read_files (file)
INNER JOIN rejects
    ON rejects.source = read_sources.source AND rejects.file_digest = read_files.file ->> 'digest'
WHERE prediction_runs.run_id = $run_id
GROUP BY rejects.source, rejects.reason
ORDER BY rejects DESC, rejects.source, rejects.reason
LIMIT 20
