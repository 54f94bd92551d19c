{% if found.events is none or found.customer is none or found.product is none %}
-- DRAFT by `barometer init`: no source with times has a column for the customer and one for the product. Join the
-- sources that have them, and return one row for each customer and product: customer_id, product_id and the features.
SELECT
    NULL::VARCHAR AS customer_id,
    NULL::VARCHAR AS product_id,
    0 AS feature
WHERE false
{% else %}
{% set guess, customer, product = guesses[found.events], found.customer | sql, found.product | sql %}
{% set time = times(guess)[0] | sql %}
{% set numbers = guess.of_types("integer", "decimal", "boolean") | map(attribute="name") %}
-- DRAFT by `barometer init`: one row for each customer and product in {{ found.events | sql }} by the week's end.
-- The week lies between the instants $week_start and $week_end; what was not known by $week_end is hidden already.
-- Sum only integers and decimals: the sum of floats depends on the order of the rows.
SELECT
    CAST({{ customer }} AS VARCHAR) AS customer_id,
    CAST({{ product }} AS VARCHAR) AS product_id,
    count(*) AS rows_so_far,
    count(*) FILTER (WHERE {{ time }} >= $week_start - INTERVAL 3 WEEKS) AS rows_in_four_weeks,
    date_diff('day', max({{ time }}), $week_end) AS days_since_last
    {%- for name in (numbers | reject("in", [found.customer, found.product]) | list)[:6] %},
    avg(CAST({{ name | sql }} AS DECIMAL(18, 4))) AS average_{{ name | plain_name }}
    {%- endfor %}

FROM {{ found.events | sql }}
WHERE {{ customer }} IS NOT NULL AND {{ product }} IS NOT NULL
GROUP BY ALL
{% endif %}
