-- Routing: what the challenger scored in the shadow, laid out and shown like predictions; and the flag of later data.

CREATE TABLE storage.shadow_predictions (
    week date NOT NULL,
    customer_id text NOT NULL,
    product_id text NOT NULL,
    satisfaction double precision NOT NULL,
    likely_satisfied boolean NOT NULL,
    model_version text NOT NULL,
    run_id text NOT NULL,
    trained_after_cutoff boolean NOT NULL
) PARTITION BY LIST (week);

COMMENT ON TABLE storage.shadow_predictions IS
'Shadow scores of every run that was published, until it is dropped; partitions by week, and in them by run.';
COMMENT ON COLUMN storage.shadow_predictions.week IS 'The week, named by its Monday.';
COMMENT ON COLUMN storage.shadow_predictions.customer_id IS 'The customer.';
COMMENT ON COLUMN storage.shadow_predictions.product_id IS 'The product.';
COMMENT ON COLUMN storage.shadow_predictions.satisfaction IS
'What the challenger would have predicted, 0 to 1; nobody was served it.';
COMMENT ON COLUMN storage.shadow_predictions.likely_satisfied IS
'Whether that is at or above the configured threshold.';
COMMENT ON COLUMN storage.shadow_predictions.model_version IS 'The challenger''s version in the MLflow registry.';
COMMENT ON COLUMN storage.shadow_predictions.run_id IS 'The run that made it; see prediction_runs.';
COMMENT ON COLUMN storage.shadow_predictions.trained_after_cutoff IS
'Whether the challenger saw data from after the end of the week.';

CREATE VIEW shadow_predictions AS
SELECT
    week,
    customer_id,
    product_id,
    satisfaction,
    likely_satisfied,
    model_version,
    run_id,
    trained_after_cutoff
FROM storage.shadow_predictions
WHERE run_id = any(array(SELECT published_weeks.run_id FROM published_weeks));

COMMENT ON VIEW shadow_predictions IS
'What the challenger would have predicted in published weeks with routing in shadow mode: nobody was served it, and no '
'total counts it. One row for each row of predictions of such a week; join them by week, customer_id, product_id.';
COMMENT ON COLUMN shadow_predictions.week IS 'The week, named by its Monday.';
COMMENT ON COLUMN shadow_predictions.customer_id IS 'The customer.';
COMMENT ON COLUMN shadow_predictions.product_id IS 'The product.';
COMMENT ON COLUMN shadow_predictions.satisfaction IS
'What the challenger would have predicted, 0 to 1; nobody was served it.';
COMMENT ON COLUMN shadow_predictions.likely_satisfied IS 'Whether that is at or above the configured threshold.';
COMMENT ON COLUMN shadow_predictions.model_version IS 'The challenger''s version in the MLflow registry.';
COMMENT ON COLUMN shadow_predictions.run_id IS 'The run that made it; see prediction_runs.';
COMMENT ON COLUMN shadow_predictions.trained_after_cutoff IS
'Whether the challenger saw data from after the end of the week.';

COMMENT ON COLUMN prediction_runs.model_version IS
'The model version in the MLflow registry that scored it: the champion''s, where a challenger took part.';
COMMENT ON COLUMN prediction_runs.trained_after_cutoff IS
'Whether a model that served it saw data from after the end of the week, so that its numbers could not have been '
'known then.';
COMMENT ON COLUMN prediction_runs.routing IS
'The challenger''s part: mode (off; ab: it served a fraction of the customers; shadow: it scored everybody into '
'shadow_predictions), fraction, salt, challenger (model_version, bundle_digest, trained_after_cutoff) and the reason. '
'NULL in runs from before there was routing: off.';

CREATE OR REPLACE VIEW weekly_satisfaction_by_product AS
SELECT
    published.week,
    this.product_id,
    this.subjects,
    this.satisfaction,
    this.likely_satisfied,
    this.satisfaction - before.satisfaction AS change,
    this.quarantined,
    this.run_id,
    run.trained_after_cutoff
FROM (
    SELECT
        week,
        run_id,
        lag(run_id) OVER (ORDER BY week) AS run_id_before
    FROM published_weeks
) AS published
INNER JOIN storage.satisfaction_by_product AS this ON published.run_id = this.run_id
INNER JOIN prediction_runs AS run ON published.run_id = run.run_id
LEFT JOIN storage.satisfaction_by_product AS before
    ON published.run_id_before = before.run_id AND this.product_id = before.product_id;

COMMENT ON COLUMN weekly_satisfaction_by_product.trained_after_cutoff IS
'Whether a model that served the week saw data from after its end.';
