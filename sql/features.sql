-- sqlfluff:dialect:duckdb
-- The features of a week: one row for each subscription that is active at the week's end.
--
-- Parameters: $week_start and $week_end, the instants between which the week lies; $week_end is the cutoff.
-- The sources are views that already hide whatever was not known by the cutoff, so nothing here has to.
-- Repeated lines are harmless: every source is first brought to one row for each of its keys.
-- Sums are of integers only, so that the order of rows can change nothing.
WITH

active AS (
    SELECT
        customer_id,
        product_id,
        max(plan) AS plan,
        max(monthly_value) AS monthly_value,
        min(started_at) AS started_at
    FROM subscriptions
    WHERE cancelled_at IS NULL
    GROUP BY customer_id, product_id
),

customer AS (
    SELECT
        customer_id,
        max(name) AS name,
        max(segment) AS segment,
        max(region) AS region
    FROM customers
    GROUP BY customer_id
),

product AS (
    SELECT
        product_id,
        max(name) AS name,
        max(category) AS category
    FROM products
    GROUP BY product_id
),

portfolio AS (
    SELECT
        customer_id,
        count(*) AS products_held
    FROM active
    GROUP BY customer_id
),

weekly_use AS (
    SELECT
        customer_id,
        product_id,
        week,
        max(minutes) AS minutes,
        max(crashes) AS crashes,
        max(last_used_at) AS last_used_at
    FROM usage
    WHERE week >= CAST($week_start AS DATE) - 21
    GROUP BY customer_id, product_id, week
),

recent_use AS (
    SELECT
        customer_id,
        product_id,
        coalesce(sum(minutes) FILTER (WHERE week = CAST($week_start AS DATE)), 0) AS minutes_this_week,
        coalesce(sum(minutes) FILTER (WHERE week < CAST($week_start AS DATE)), 0) AS minutes_three_weeks_before,
        sum(crashes) AS crashes,
        max(last_used_at) AS last_used_at
    FROM weekly_use
    GROUP BY customer_id, product_id
),

delivery AS (
    SELECT
        customer_id,
        product_id,
        delivery_id,
        max(greatest(CAST(delivered_at AS DATE) - promised_on, 0)) AS days_late,
        bool_or(is_damaged) AS is_damaged,
        max(carrier) AS carrier
    FROM deliveries
    WHERE delivered_at >= $week_start - INTERVAL 35 DAY
    GROUP BY customer_id, product_id, delivery_id
),

recent_deliveries AS (
    SELECT
        customer_id,
        product_id,
        count(*) FILTER (WHERE days_late > 0) AS late_deliveries,
        max(days_late) AS worst_days_late,
        bool_or(is_damaged) AS had_damage,
        max(carrier) AS carrier
    FROM delivery
    GROUP BY customer_id, product_id
),

ticket AS (
    SELECT
        customer_id,
        product_id,
        ticket_id,
        coalesce(max(topic), 'unknown') AS topic,
        max(opened_at) AS opened_at,
        max(resolved_at) AS resolved_at
    FROM tickets
    WHERE opened_at >= $week_start - INTERVAL 49 DAY
    GROUP BY customer_id, product_id, ticket_id
),

recent_tickets AS (
    SELECT
        customer_id,
        product_id,
        count(*) AS tickets,
        count(*) FILTER (WHERE resolved_at IS NULL) AS open_tickets,
        max(date_sub('hour', opened_at, resolved_at)) AS slowest_answer_hours,
        arg_max(topic, (opened_at, ticket_id)) AS latest_topic
    FROM ticket
    GROUP BY customer_id, product_id
)

SELECT
    active.customer_id,
    active.product_id,

    product.category AS product_category,
    active.plan,
    customer.region,
    active.monthly_value,
    date_sub('week', active.started_at, $week_end) AS tenure_weeks,
    portfolio.products_held,

    coalesce(recent_use.minutes_this_week, 0) AS minutes_this_week,
    coalesce(recent_use.minutes_three_weeks_before, 0) AS minutes_three_weeks_before,
    CASE
        -- from fewer minutes than these, a change in percent says nothing
        WHEN recent_use.minutes_three_weeks_before >= 30
            THEN
                100.0 * (3 * recent_use.minutes_this_week - recent_use.minutes_three_weeks_before)
                / recent_use.minutes_three_weeks_before
    END AS minutes_change_percent,
    coalesce(recent_use.crashes, 0) AS crashes,
    date_sub('day', recent_use.last_used_at, $week_end) AS days_since_last_use,

    coalesce(recent_deliveries.late_deliveries, 0) AS late_deliveries,
    recent_deliveries.worst_days_late,
    recent_deliveries.had_damage,
    recent_deliveries.carrier,

    coalesce(recent_tickets.tickets, 0) AS tickets,
    coalesce(recent_tickets.open_tickets, 0) AS open_tickets,
    recent_tickets.slowest_answer_hours,
    recent_tickets.latest_topic,

    customer.name AS info_customer,
    customer.segment AS info_segment,
    product.name AS info_product,
    active.monthly_value AS info_monthly_value
FROM active
INNER JOIN portfolio ON active.customer_id = portfolio.customer_id
LEFT JOIN customer ON active.customer_id = customer.customer_id
LEFT JOIN product ON active.product_id = product.product_id
LEFT JOIN recent_use
    ON active.customer_id = recent_use.customer_id AND active.product_id = recent_use.product_id
LEFT JOIN recent_deliveries
    ON active.customer_id = recent_deliveries.customer_id AND active.product_id = recent_deliveries.product_id
LEFT JOIN recent_tickets
    ON active.customer_id = recent_tickets.customer_id AND active.product_id = recent_tickets.product_id
