-- What the service answered on demand, and who recorded it.
--
-- Rows come in the order of their time and are read and deleted by it, so the index on predicted_at is a BRIN: it costs
-- an insert next to nothing and is some kilobytes for millions of rows. Partitions would have to be made ahead, by a
-- service that must never wait for its record; deleting the oldest rows by the hour or the day needs none. There is no
-- key: a request's id may be the client's own, so two requests can have the same one. That nothing is written twice,
-- online_recorders sees to.

CREATE TABLE online_predictions (
    predicted_at timestamptz NOT NULL,
    request_id text NOT NULL,
    row integer NOT NULL,
    customer_id text,
    product_id text,
    features jsonb NOT NULL,
    features_week date,
    satisfaction double precision NOT NULL,
    likely_satisfied boolean NOT NULL,
    role text NOT NULL,
    model_version text NOT NULL,
    contract text NOT NULL,
    served boolean NOT NULL
);

CREATE INDEX online_predictions_predicted_at ON online_predictions USING brin (predicted_at)
WITH (pages_per_range = 32, autosummarize = on);

COMMENT ON TABLE online_predictions IS
'What the service predicted on demand: one row for each instance, and one more where the challenger scored it in the '
'shadow. Written in the background, some moments after the answer; what online_recorders counts as dropped is missing.';
COMMENT ON COLUMN online_predictions.predicted_at IS 'When it was predicted.';
COMMENT ON COLUMN online_predictions.request_id IS
'The request, as in its answer and the service''s log; a client may choose it, and choose one twice.';
COMMENT ON COLUMN online_predictions.row IS 'The instance''s place in the request, from 0.';
COMMENT ON COLUMN online_predictions.customer_id IS
'The customer, where the request named one (a NUL character, which SQL cannot hold, as U+FDD0 and then \x00).';
COMMENT ON COLUMN online_predictions.product_id IS 'The product, where the request named one; NUL as in customer_id.';
COMMENT ON COLUMN online_predictions.features IS
'The features that were scored, by name, as the request gave them or the snapshot completed them; null is missing, and '
'so is a number that is not finite. NUL as in customer_id.';
COMMENT ON COLUMN online_predictions.features_week IS
'The week of the snapshot that completed the features, named by its Monday; NULL: the request gave all of them.';
COMMENT ON COLUMN online_predictions.satisfaction IS
'Predicted probability, 0 to 1, that the customer is satisfied with the product.';
COMMENT ON COLUMN online_predictions.likely_satisfied IS
'Whether satisfaction is at or above the configured threshold.';
COMMENT ON COLUMN online_predictions.role IS 'Which model made the prediction: champion or challenger.';
COMMENT ON COLUMN online_predictions.model_version IS 'Its version in the MLflow registry.';
COMMENT ON COLUMN online_predictions.contract IS
'How the request came: barometer, sagemaker, vertex or azure, as service.contract says.';
COMMENT ON COLUMN online_predictions.served IS
'Whether it is what the client was answered; false: the challenger''s in the shadow.';

CREATE TABLE online_recorders (
    recorder_id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    recorded_at timestamptz,
    batches bigint NOT NULL DEFAULT 0,
    recorded bigint NOT NULL DEFAULT 0,
    dropped bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE online_recorders IS
'Each process that recorded online_predictions. It changes in the same transaction as they do, which is how a process '
'learns whether a batch whose COMMIT was cut off had been written.';
COMMENT ON COLUMN online_recorders.recorder_id IS 'The process, by a random id.';
COMMENT ON COLUMN online_recorders.started_at IS 'When it wrote first.';
COMMENT ON COLUMN online_recorders.recorded_at IS 'When it wrote last.';
COMMENT ON COLUMN online_recorders.batches IS 'Batches that it wrote.';
COMMENT ON COLUMN online_recorders.recorded IS 'Rows of online_predictions that it wrote.';
COMMENT ON COLUMN online_recorders.dropped IS
'Predictions that it could not record and gave up, because more were waiting than service.record_rows.';
