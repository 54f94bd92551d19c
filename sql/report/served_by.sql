-- Subjects by the model version that served them, and those that the challenger scored in the shadow.
SELECT
    role AS part,
    model_version,
    count(*) AS subjects
FROM predictions
WHERE week = $week
GROUP BY role, model_version
UNION ALL
SELECT
    'shadow' AS part,
    model_version,
    count(*) AS subjects
FROM shadow_predictions
WHERE week = $week
GROUP BY model_version
ORDER BY part, model_version
