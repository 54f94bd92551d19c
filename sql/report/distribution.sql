-- Subjects by tenth of satisfaction (0: less than 0.1), in the week and in the published week before.
SELECT
    tenth,
    coalesce(sum(subjects) FILTER (WHERE week = $week), 0)::bigint AS subjects,
    coalesce(sum(subjects) FILTER (WHERE week = $week AND NOT likely_satisfied), 0)::bigint AS likely_dissatisfied,
    coalesce(sum(subjects) FILTER (WHERE week = $week_before), 0)::bigint AS subjects_before
FROM generate_series(0, 9) AS tenth
LEFT JOIN (
    SELECT week, likely_satisfied, least(floor(satisfaction * 10)::integer, 9) AS tenth, count(*) AS subjects
    FROM predictions
    WHERE week IN ($week, $week_before)
    GROUP BY week, likely_satisfied, least(floor(satisfaction * 10)::integer, 9)
) AS scored USING (tenth)
GROUP BY tenth
ORDER BY tenth
