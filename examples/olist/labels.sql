-- sqlfluff:dialect:duckdb
-- The labels: whether a customer was satisfied with the week's deliveries, by category.
--
-- A review of 4 or 5 counts as satisfied. It is about an order, so it applies to every category in the order. Some
-- orders have several reviews, and some customers have several orders in a week. Only the first answer counts.
WITH

category AS (
    SELECT
        products.product_id,
        coalesce(max(product_category_name_english), max(product_category_name), 'unknown') AS category
    FROM products
    LEFT JOIN category_names USING (product_category_name)
    GROUP BY products.product_id
),

delivered AS (
    SELECT DISTINCT
        orders.order_id,
        customers.customer_unique_id AS customer_id,
        coalesce(category.category, 'unknown') AS product_id,
        orders.order_delivered_customer_date AS delivered_at
    FROM orders
    INNER JOIN customers ON orders.customer_id = customers.customer_id
    INNER JOIN order_items ON orders.order_id = order_items.order_id
    LEFT JOIN category ON order_items.product_id = category.product_id
    WHERE orders.order_delivered_customer_date IS NOT NULL
)

SELECT
    delivered.customer_id,
    delivered.product_id,
    CAST(date_trunc('week', delivered.delivered_at) AS DATE) AS week,
    arg_min(review_score, (review_answer_timestamp, review_score)) >= 4 AS satisfied,
    -- a review may come before the parcel, whose arrival determines the week
    min(greatest(review_answer_timestamp, delivered.delivered_at)) AS observed_at
FROM delivered
INNER JOIN order_reviews ON delivered.order_id = order_reviews.order_id
WHERE review_score BETWEEN 1 AND 5
GROUP BY delivered.customer_id, delivered.product_id, week
