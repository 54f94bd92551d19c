-- Satisfaction by week and product; the rows without a product_id are each week's total.
SELECT
    week,
    product_id,
    sum(subjects)::bigint AS subjects,
    sum(satisfaction * subjects) / nullif(sum(subjects), 0) AS satisfaction,
    coalesce(sum(round(subjects * (1 - likely_satisfied))), 0)::bigint AS likely_dissatisfied,
    sum(quarantined)::bigint AS quarantined
FROM weekly_satisfaction_by_product
WHERE week IN ($recent_weeks)
GROUP BY GROUPING SETS ((week), (week, product_id))
ORDER BY week, product_id
