-- sqlfluff:dialect:duckdb
-- The features of a week: one row for each customer and each category of which something was delivered in the week.
--
-- Parameters: $week_start and $week_end, the instants at which the week begins and ends; $week_end is the cutoff.
-- The sources are views that already hide all data that was not known at the cutoff. A product is a category, because
-- single products sell too rarely. Repeated lines are harmless, because each source is first reduced to one row per
-- key. Sums are of integers and decimals, so their order does not change the result.
WITH

customer AS (
    SELECT
        customer_id,
        max(customer_unique_id) AS customer_unique_id,
        max(customer_city) AS city,
        max(customer_state) AS state
    FROM customers
    GROUP BY customer_id
),

purchase AS (
    SELECT
        order_id,
        max(customer_id) AS customer_id,
        max(order_purchase_timestamp) AS purchased_at,
        max(order_approved_at) AS approved_at,
        max(order_delivered_carrier_date) AS handed_over_at,
        max(order_delivered_customer_date) AS delivered_at,
        max(order_estimated_delivery_date) AS promised_on
    FROM orders
    GROUP BY order_id
),

product AS (
    SELECT
        products.product_id,
        coalesce(max(product_category_name_english), max(product_category_name), 'unknown') AS category,
        max(product_photos_qty) AS photos,
        max(product_description_lenght) AS description_characters,
        max(product_weight_g) AS weight_g
    FROM products
    LEFT JOIN category_names USING (product_category_name)
    GROUP BY products.product_id
),

seller AS (
    SELECT
        seller_id,
        max(seller_state) AS state
    FROM sellers
    GROUP BY seller_id
),

item AS (
    SELECT
        order_id,
        order_item_id,
        max(product_id) AS product_id,
        max(seller_id) AS seller_id,
        max(shipping_limit_date) AS ship_by,
        max(price) AS price,
        max(freight_value) AS freight
    FROM order_items
    GROUP BY order_id, order_item_id
),

payment AS (
    SELECT
        order_id,
        payment_sequential,
        max(payment_type) AS type,
        max(payment_installments) AS installments,
        max(payment_value) AS value
    FROM order_payments
    GROUP BY order_id, payment_sequential
),

paid AS (
    SELECT
        order_id,
        arg_max(type, (value, payment_sequential)) AS payment_type,
        max(installments) AS installments
    FROM payment
    GROUP BY order_id
),

basket AS (
    SELECT
        order_id,
        count(*) AS items,
        count(DISTINCT seller_id) AS sellers
    FROM item
    GROUP BY order_id
),

-- Reviews of each seller's earlier orders, from before the week. Of several reviews the first answer counts.
review AS (
    SELECT
        order_id,
        arg_min(review_score, (review_answer_timestamp, review_score)) AS score
    FROM order_reviews
    GROUP BY order_id
),

seller_past AS (
    SELECT
        seller_id,
        count(*) AS orders,
        count(*) FILTER (WHERE score >= 4) AS satisfied_orders,
        count(*) FILTER (WHERE score < 4) AS dissatisfied_orders
    FROM (SELECT DISTINCT order_id, seller_id FROM item) AS sold
    INNER JOIN purchase ON sold.order_id = purchase.order_id AND purchase.delivered_at < $week_start
    LEFT JOIN review ON sold.order_id = review.order_id
    GROUP BY seller_id
),

delivery AS (
    SELECT
        customer.customer_unique_id,
        coalesce(product.category, 'unknown') AS category,
        item.order_id,
        item.order_item_id,
        item.price,
        item.freight,
        item.ship_by,
        coalesce(product.photos, 0) AS photos,
        product.description_characters,
        product.weight_g,
        customer.city,
        customer.state,
        seller.state AS seller_state,
        seller_past.orders AS seller_orders,
        seller_past.satisfied_orders AS seller_satisfied,
        seller_past.dissatisfied_orders AS seller_dissatisfied,
        purchase.purchased_at,
        purchase.approved_at,
        purchase.handed_over_at,
        purchase.delivered_at,
        purchase.promised_on,
        basket.items,
        basket.sellers,
        paid.payment_type,
        paid.installments
    FROM purchase
    INNER JOIN customer ON purchase.customer_id = customer.customer_id
    INNER JOIN item ON purchase.order_id = item.order_id
    INNER JOIN basket ON purchase.order_id = basket.order_id
    LEFT JOIN product ON item.product_id = product.product_id
    LEFT JOIN seller ON item.seller_id = seller.seller_id
    LEFT JOIN seller_past ON item.seller_id = seller_past.seller_id
    LEFT JOIN paid ON purchase.order_id = paid.order_id
    WHERE purchase.delivered_at >= $week_start
)

-- Of several orders in the week, the one delivered last counts; of several items, the most expensive one.
SELECT
    customer_unique_id AS customer_id,
    category AS product_id,

    category,
    max_by(state, (price, order_id, order_item_id)) AS customer_state,
    max_by(seller_state, (price, order_id, order_item_id)) AS seller_state,
    sum(price) AS price,
    sum(freight) AS freight,
    count(*) AS items,
    max(items) AS items_in_order,
    max(sellers) AS sellers_in_order,
    max_by(payment_type, (delivered_at, order_id)) AS payment_type,
    max(installments) AS installments,
    max_by(photos, (price, order_id, order_item_id)) AS photos,
    max_by(description_characters, (price, order_id, order_item_id)) AS description_characters,
    max(weight_g) AS weight_g,

    max(date_diff('day', purchased_at, delivered_at)) AS days_to_deliver,
    max(CAST(delivered_at AS DATE) - promised_on) AS days_late,
    max(promised_on - CAST(purchased_at AS DATE)) AS days_promised,
    max(date_diff('hour', purchased_at, approved_at)) AS hours_to_approve,
    max(date_diff('day', approved_at, handed_over_at)) AS days_to_hand_over,
    max(date_diff('day', ship_by, handed_over_at)) AS days_handed_over_late,
    min(date_diff('second', handed_over_at, delivered_at)) / 86400.0 AS days_on_the_way,

    coalesce(max_by(seller_orders, (price, order_id, order_item_id)), 0) AS seller_orders,
    max_by(
        CASE
            -- a percentage of fewer reviews is meaningless
            WHEN seller_satisfied + seller_dissatisfied >= 5
                THEN 100.0 * seller_satisfied / (seller_satisfied + seller_dissatisfied)
        END,
        (price, order_id, order_item_id)
    ) AS seller_satisfied_percent,

    max_by(city || ' (' || state || ')', (price, order_id, order_item_id)) AS info_city,
    sum(price) AS info_value_brl,
    CAST(max(delivered_at) AS DATE) AS info_delivered,
    max_by(promised_on, (delivered_at, order_id)) AS info_promised,
    max_by(order_id, (delivered_at, order_id)) AS info_order
FROM delivery
GROUP BY customer_unique_id, category
