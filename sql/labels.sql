-- sqlfluff:dialect:duckdb
-- The labels: whether a subscriber turned out satisfied with a week, and when that became known.
--
-- The survey asks about a named week; an answer of 4 or 5 counts as satisfied. Repeated lines are made distinct; of
-- several answers about one week the first that arrived counts.
SELECT
    customer_id,
    product_id,
    about_week AS week,
    arg_min(answer, (received_at, answer)) >= 4 AS satisfied,
    min(received_at) AS observed_at
FROM surveys
WHERE answer BETWEEN 1 AND 5
GROUP BY customer_id, product_id, about_week
