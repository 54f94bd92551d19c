-- Quarantined subjects by reason.
SELECT reason, count(*) AS subjects
FROM quarantine
CROSS JOIN unnest(reasons) AS reason
WHERE run_id = $run_id
GROUP BY reason
ORDER BY subjects DESC, reason
LIMIT 20
