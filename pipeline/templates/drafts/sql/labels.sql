{% if found.answers is none or found.customer is none or found.product is none %}
-- DRAFT by `barometer init`: nothing in the files looks like an answer. Return one row for each customer, product and
-- week (its Monday) whose satisfaction is known: satisfied (0 or 1), and observed_at, when the company knew it.
SELECT
    NULL::VARCHAR AS customer_id,
    NULL::VARCHAR AS product_id,
    NULL::DATE AS week,
    NULL::BOOLEAN AS satisfied,
    NULL::TIMESTAMPTZ AS observed_at
WHERE false
{% else %}
{% set customer, product, answer = found.customer | sql, found.product | sql, found.answer.name | sql %}
{% set time = times(guesses[found.answers])[0] | sql %}
{% set low, high = found.answer.low | float, found.answer.high | float %}
{% set least = "%g" % (high if high - low <= 1 else (low + 0.7 * (high - low)) | round) %}
-- DRAFT by `barometer init`: who was satisfied with which week, and when the company knew.
-- An answer of {{ least }} or more means satisfied. It is about the week before it was given. Of several answers in a
-- week, the last one counts.
SELECT
    CAST({{ customer }} AS VARCHAR) AS customer_id,
    CAST({{ product }} AS VARCHAR) AS product_id,
    CAST(date_trunc('week', {{ time }}) AS DATE) - 7 AS week,
    arg_max({{ answer }}, ({{ time }}, {{ answer }})) >= {{ least }} AS satisfied,
    max({{ time }}) AS observed_at
FROM {{ found.answers | sql }}
WHERE {{ answer }} IS NOT NULL AND {{ customer }} IS NOT NULL AND {{ product }} IS NOT NULL
GROUP BY ALL
{% endif %}
