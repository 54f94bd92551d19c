-- Subjects that crossed the threshold, joined or left since the published week before.
-- The report sets enable_mergejoin = off for it; without that, millions of rows take a minute.
SELECT
    count(*) FILTER (WHERE before.likely_satisfied AND NOT now.likely_satisfied) AS became_likely_dissatisfied,
    count(*) FILTER (WHERE now.likely_satisfied AND NOT before.likely_satisfied) AS became_likely_satisfied,
    count(*) FILTER (WHERE before.likely_satisfied IS NULL) AS joined,
    count(*) FILTER (WHERE now.likely_satisfied IS NULL) AS left_out
FROM (
    SELECT customer_id, product_id, likely_satisfied
    FROM predictions
    WHERE week = $week
) AS now
FULL JOIN (
    SELECT customer_id, product_id, likely_satisfied
    FROM predictions
    WHERE week = $week_before
) AS before USING (customer_id, product_id)
