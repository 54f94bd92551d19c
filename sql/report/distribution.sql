-- Subjects by tenth of satisfaction (0: less than 0.1), in the week and in the published week before.
SELECT
    tenth,
    count(*) FILTER (WHERE week = $week) AS subjects,
    count(*) FILTER (WHERE week = $week AND NOT likely_satisfied) AS likely_dissatisfied,
    count(*) FILTER (WHERE week = $week_before) AS subjects_before
FROM generate_series(0, 9) AS tenth
LEFT JOIN (
    SELECT week, likely_satisfied, least(floor(satisfaction * 10)::integer, 9) AS tenth
    FROM predictions
    WHERE week IN ($week, $week_before)
) AS scored USING (tenth)
GROUP BY tenth
ORDER BY tenth
