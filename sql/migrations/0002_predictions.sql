-- Predictions: one table for each run, in two levels of partitions, and the views that show the published ones.
--
-- A published week is replaced by changing its row in published_weeks, never by touching rows or partitions that a
-- reader may have open. The views are written so that other weeks are pruned, and that the rows of a superseded run,
-- as long as it is there, are skipped in passing (an array) or pruned too (scalar subqueries); a join does neither.

CREATE SCHEMA storage;

COMMENT ON SCHEMA storage IS
'Where predictions lie. Query the views of the schema public: these tables may change.';

CREATE TABLE storage.predictions (
    week date NOT NULL,
    customer_id text NOT NULL,
    product_id text NOT NULL,
    satisfaction double precision NOT NULL,
    likely_satisfied boolean NOT NULL,
    role text NOT NULL,
    model_version text NOT NULL,
    run_id text NOT NULL,
    trained_after_cutoff boolean NOT NULL,
    info jsonb
) PARTITION BY LIST (week);

COMMENT ON TABLE storage.predictions IS
'Rows of every run that was published, until it is dropped; partitions by week, and in them by run.';
COMMENT ON COLUMN storage.predictions.week IS 'The week, named by its Monday.';
COMMENT ON COLUMN storage.predictions.customer_id IS 'The customer.';
COMMENT ON COLUMN storage.predictions.product_id IS 'The product.';
COMMENT ON COLUMN storage.predictions.satisfaction IS
'Predicted probability, 0 to 1, that the customer is satisfied with the product.';
COMMENT ON COLUMN storage.predictions.likely_satisfied IS
'Whether satisfaction is at or above the configured threshold.';
COMMENT ON COLUMN storage.predictions.role IS 'Which model made the prediction: champion or challenger.';
COMMENT ON COLUMN storage.predictions.model_version IS 'Its version in the MLflow registry.';
COMMENT ON COLUMN storage.predictions.run_id IS 'The run that made it; see prediction_runs.';
COMMENT ON COLUMN storage.predictions.trained_after_cutoff IS
'Whether the model saw data from after the end of the week.';
COMMENT ON COLUMN storage.predictions.info IS
'What features.sql returned as info_* columns, for readers; never used for the prediction.';

CREATE TABLE storage.satisfaction_by_product (
    run_id text NOT NULL REFERENCES prediction_runs (run_id),
    product_id text NOT NULL,
    subjects bigint NOT NULL,
    satisfaction double precision,
    likely_satisfied double precision,
    quarantined bigint NOT NULL,
    PRIMARY KEY (run_id, product_id)
);

COMMENT ON TABLE storage.satisfaction_by_product IS
'A run by product, computed when its rows are loaded: a trend over years needs no look at rows.';
COMMENT ON COLUMN storage.satisfaction_by_product.run_id IS 'The run.';
COMMENT ON COLUMN storage.satisfaction_by_product.product_id IS 'The product.';
COMMENT ON COLUMN storage.satisfaction_by_product.subjects IS 'Subjects with a prediction.';
COMMENT ON COLUMN storage.satisfaction_by_product.satisfaction IS 'Their mean satisfaction.';
COMMENT ON COLUMN storage.satisfaction_by_product.likely_satisfied IS
'The fraction of them who are likely satisfied.';
COMMENT ON COLUMN storage.satisfaction_by_product.quarantined IS 'Subjects kept out.';

CREATE VIEW predictions AS
SELECT
    week,
    customer_id,
    product_id,
    satisfaction,
    likely_satisfied,
    role,
    model_version,
    run_id,
    trained_after_cutoff,
    info
FROM storage.predictions
WHERE run_id = any(array(SELECT published_weeks.run_id FROM published_weeks));

COMMENT ON VIEW predictions IS
'The published predictions: one row for each week, customer and product. Join prediction_runs by run_id for lineage.';
COMMENT ON COLUMN predictions.week IS 'The week, named by its Monday.';
COMMENT ON COLUMN predictions.customer_id IS 'The customer.';
COMMENT ON COLUMN predictions.product_id IS 'The product.';
COMMENT ON COLUMN predictions.satisfaction IS
'Predicted probability, 0 to 1, that the customer is satisfied with the product.';
COMMENT ON COLUMN predictions.likely_satisfied IS 'Whether satisfaction is at or above the configured threshold.';
COMMENT ON COLUMN predictions.role IS 'Which model made the prediction: champion or challenger.';
COMMENT ON COLUMN predictions.model_version IS 'Its version in the MLflow registry.';
COMMENT ON COLUMN predictions.run_id IS 'The run that made it; see prediction_runs.';
COMMENT ON COLUMN predictions.trained_after_cutoff IS 'Whether the model saw data from after the end of the week.';
COMMENT ON COLUMN predictions.info IS
'What features.sql returned as info_* columns, for readers; never used for the prediction.';

CREATE VIEW latest_predictions AS
SELECT
    week,
    customer_id,
    product_id,
    satisfaction,
    likely_satisfied,
    role,
    model_version,
    run_id,
    trained_after_cutoff,
    info
FROM storage.predictions
WHERE
    week = (SELECT max(published_weeks.week) FROM published_weeks)
    AND run_id = (SELECT published_weeks.run_id FROM published_weeks ORDER BY published_weeks.week DESC LIMIT 1);

COMMENT ON VIEW latest_predictions IS 'The predictions of the latest published week.';
COMMENT ON COLUMN latest_predictions.week IS 'The week, named by its Monday.';
COMMENT ON COLUMN latest_predictions.customer_id IS 'The customer.';
COMMENT ON COLUMN latest_predictions.product_id IS 'The product.';
COMMENT ON COLUMN latest_predictions.satisfaction IS
'Predicted probability, 0 to 1, that the customer is satisfied with the product.';
COMMENT ON COLUMN latest_predictions.likely_satisfied IS
'Whether satisfaction is at or above the configured threshold.';
COMMENT ON COLUMN latest_predictions.role IS 'Which model made the prediction: champion or challenger.';
COMMENT ON COLUMN latest_predictions.model_version IS 'Its version in the MLflow registry.';
COMMENT ON COLUMN latest_predictions.run_id IS 'The run that made it; see prediction_runs.';
COMMENT ON COLUMN latest_predictions.trained_after_cutoff IS
'Whether the model saw data from after the end of the week.';
COMMENT ON COLUMN latest_predictions.info IS
'What features.sql returned as info_* columns, for readers; never used for the prediction.';

CREATE VIEW weekly_satisfaction_by_product AS
SELECT
    published.week,
    this.product_id,
    this.subjects,
    this.satisfaction,
    this.likely_satisfied,
    this.satisfaction - before.satisfaction AS change,
    this.quarantined,
    this.run_id
FROM (
    SELECT
        week,
        run_id,
        lag(run_id) OVER (ORDER BY week) AS run_id_before
    FROM published_weeks
) AS published
INNER JOIN storage.satisfaction_by_product AS this ON published.run_id = this.run_id
LEFT JOIN storage.satisfaction_by_product AS before
    ON published.run_id_before = before.run_id AND this.product_id = before.product_id;

COMMENT ON VIEW weekly_satisfaction_by_product IS 'Each published week by product.';
COMMENT ON COLUMN weekly_satisfaction_by_product.week IS 'The week, named by its Monday.';
COMMENT ON COLUMN weekly_satisfaction_by_product.product_id IS 'The product.';
COMMENT ON COLUMN weekly_satisfaction_by_product.subjects IS
'Subjects with a prediction; those in quarantine are not among them.';
COMMENT ON COLUMN weekly_satisfaction_by_product.satisfaction IS
'Their mean satisfaction; NULL when all are in quarantine.';
COMMENT ON COLUMN weekly_satisfaction_by_product.likely_satisfied IS
'The fraction of them who are likely satisfied.';
COMMENT ON COLUMN weekly_satisfaction_by_product.change IS
'Mean satisfaction minus that of the published week before; NULL when the product had none.';
COMMENT ON COLUMN weekly_satisfaction_by_product.quarantined IS 'Subjects kept out, who have no prediction.';
COMMENT ON COLUMN weekly_satisfaction_by_product.run_id IS 'The run; see prediction_runs.';
