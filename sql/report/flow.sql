-- Subjects that crossed the threshold, joined or left since the published week before.
SELECT
    count(*) FILTER (WHERE was_likely_satisfied AND NOT is_likely_satisfied) AS became_likely_dissatisfied,
    count(*) FILTER (WHERE is_likely_satisfied AND NOT was_likely_satisfied) AS became_likely_satisfied,
    count(*) FILTER (WHERE was_likely_satisfied IS NULL) AS joined,
    count(*) FILTER (WHERE is_likely_satisfied IS NULL) AS left_out
FROM (
    SELECT
        bool_or(likely_satisfied) FILTER (WHERE week = $week) AS is_likely_satisfied,
        bool_or(likely_satisfied) FILTER (WHERE week = $week_before) AS was_likely_satisfied
    FROM predictions
    WHERE week IN ($week, $week_before)
    GROUP BY customer_id, product_id
) AS subjects
