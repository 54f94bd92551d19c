-- The subjects with the lowest satisfaction, and theirs in the published week before.
SELECT
    now.customer_id,
    now.product_id,
    now.satisfaction,
    before.satisfaction AS before,
    now.info
FROM (
    SELECT customer_id, product_id, satisfaction, info
    FROM predictions
    WHERE week = $week
    ORDER BY satisfaction, customer_id, product_id
    LIMIT 15
) AS now
LEFT JOIN predictions AS before
    ON before.week = $week_before AND before.customer_id = now.customer_id AND before.product_id = now.product_id
ORDER BY now.satisfaction, now.customer_id, now.product_id
