-- Runs, what they kept out, and the models they used.

CREATE TABLE prediction_runs (
    run_id text PRIMARY KEY,
    week date NOT NULL,
    n integer NOT NULL,
    state text NOT NULL CHECK (
        state IN ('running', 'failed', 'held', 'published', 'superseded', 'abandoned')
    ),
    airflow_run_id text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    published_at timestamptz,
    model_version text,
    model_reason text,
    trained_after_cutoff boolean,
    bundle_digest text,
    snapshot_digest text,
    snapshot_manifest text,
    code_version text,
    config_digest text,
    source_lines bigint,
    source_rows bigint,
    rejects bigint,
    subjects bigint,
    predicted bigint,
    quarantined bigint,
    stage_seconds jsonb NOT NULL DEFAULT '{}',
    stage_peak_mib jsonb NOT NULL DEFAULT '{}',
    validation jsonb NOT NULL DEFAULT '[]',
    sources jsonb,
    routing jsonb,
    error text,
    UNIQUE (week, n)
);

COMMENT ON TABLE prediction_runs IS 'Every run of the weekly prediction, published or not; one row each.';
COMMENT ON COLUMN prediction_runs.run_id IS 'The run: its week and number, as 2026-11-16.1.';
COMMENT ON COLUMN prediction_runs.week IS 'The week it predicts, named by its Monday.';
COMMENT ON COLUMN prediction_runs.n IS 'Its number among the runs of the week, from 1.';
COMMENT ON COLUMN prediction_runs.state IS
'running; failed; held (a check kept it from being published); published (what people see for the week); '
'superseded (was published, a later run took its place); abandoned (given up by the same DAG run, which began anew).';
COMMENT ON COLUMN prediction_runs.airflow_run_id IS 'The DAG run in Airflow.';
COMMENT ON COLUMN prediction_runs.started_at IS 'When it began.';
COMMENT ON COLUMN prediction_runs.finished_at IS 'When it was published or failed.';
COMMENT ON COLUMN prediction_runs.published_at IS 'When it last became what people see; NULL if it never did.';
COMMENT ON COLUMN prediction_runs.model_version IS 'The model version in the MLflow registry that scored it.';
COMMENT ON COLUMN prediction_runs.model_reason IS 'Why this version, in words.';
COMMENT ON COLUMN prediction_runs.trained_after_cutoff IS
'Whether the model saw data from after the end of the week, so that its numbers could not have been known then.';
COMMENT ON COLUMN prediction_runs.bundle_digest IS 'SHA-256 of the list of the model''s files.';
COMMENT ON COLUMN prediction_runs.snapshot_digest IS 'SHA-256 of the features it scored: the version of the data.';
COMMENT ON COLUMN prediction_runs.snapshot_manifest IS 'Where the list of the snapshot''s files and sources is.';
COMMENT ON COLUMN prediction_runs.code_version IS 'The version of the code that ran.';
COMMENT ON COLUMN prediction_runs.config_digest IS 'SHA-256 of the settings that shape results.';
COMMENT ON COLUMN prediction_runs.source_lines IS 'Lines of all sources: rows read and rejects.';
COMMENT ON COLUMN prediction_runs.source_rows IS 'Rows read from all sources.';
COMMENT ON COLUMN prediction_runs.rejects IS
'Source lines that could not be parsed; they are in the table rejects.';
COMMENT ON COLUMN prediction_runs.subjects IS
'Subjects (customer and product) that the features have; always predicted plus quarantined.';
COMMENT ON COLUMN prediction_runs.predicted IS 'Subjects with a prediction.';
COMMENT ON COLUMN prediction_runs.quarantined IS 'Subjects kept out; they are in the table quarantine.';
COMMENT ON COLUMN prediction_runs.stage_seconds IS 'Seconds that each stage took, by stage.';
COMMENT ON COLUMN prediction_runs.stage_peak_mib IS 'Highest memory of each stage''s process in MiB, by stage.';
COMMENT ON COLUMN prediction_runs.validation IS
'The expectations that were checked, with their severity and outcome.';
COMMENT ON COLUMN prediction_runs.sources IS
'What was read from each source: files, sizes, digests, rows, rejects.';
COMMENT ON COLUMN prediction_runs.routing IS 'How subjects were split between champion and challenger; NULL: not.';
COMMENT ON COLUMN prediction_runs.error IS 'Why it failed or was held.';

CREATE TABLE published_weeks (
    week date PRIMARY KEY,
    run_id text NOT NULL UNIQUE REFERENCES prediction_runs (run_id)
);

COMMENT ON TABLE published_weeks IS
'The run that people see for each published week. Publishing changes one row here, which is why a week changes whole.';
COMMENT ON COLUMN published_weeks.week IS 'The week, named by its Monday.';
COMMENT ON COLUMN published_weeks.run_id IS 'The run that is published.';

CREATE TABLE rejects (
    source text NOT NULL,
    file_digest text NOT NULL,
    line bigint NOT NULL,
    uri text NOT NULL,
    reason text NOT NULL,
    content text NOT NULL,
    first_run_id text NOT NULL REFERENCES prediction_runs (run_id),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    accepted_run_id text REFERENCES prediction_runs (run_id),
    PRIMARY KEY (source, file_digest, line)
);

COMMENT ON TABLE rejects IS
'Source lines that could not be parsed, whole; each written once however often its file is read.';
COMMENT ON COLUMN rejects.source IS 'The source, as pipeline.toml names it.';
COMMENT ON COLUMN rejects.file_digest IS 'SHA-256 of the file it stands in.';
COMMENT ON COLUMN rejects.line IS 'Line of the file on which the record starts; the first line is 1.';
COMMENT ON COLUMN rejects.uri IS 'Where the file was when the line was first met.';
COMMENT ON COLUMN rejects.reason IS 'What is wrong with it.';
COMMENT ON COLUMN rejects.content IS
'The record as it stands in the file (a NUL character, which SQL cannot hold, as \x00).';
COMMENT ON COLUMN rejects.first_run_id IS 'The run that met it first.';
COMMENT ON COLUMN rejects.recorded_at IS 'When that was.';
COMMENT ON COLUMN rejects.accepted_run_id IS
'The run whose error budget covered it; NULL while it counts as new, because every run that met it was stopped.';

CREATE TABLE quarantine (
    run_id text NOT NULL REFERENCES prediction_runs (run_id),
    customer_id text,
    product_id text,
    reasons text[] NOT NULL,
    rows jsonb NOT NULL,
    UNIQUE NULLS NOT DISTINCT (run_id, customer_id, product_id)
);

COMMENT ON TABLE quarantine IS
'Subjects kept out of a run, whole, with the reasons; they have no prediction in it.';
COMMENT ON COLUMN quarantine.run_id IS 'The run.';
COMMENT ON COLUMN quarantine.customer_id IS 'The customer; NULL when that is the reason.';
COMMENT ON COLUMN quarantine.product_id IS 'The product; NULL when that is the reason.';
COMMENT ON COLUMN quarantine.reasons IS 'The critical expectations that failed.';
COMMENT ON COLUMN quarantine.rows IS 'The subject''s rows of features: one, or several when that is the reason.';

CREATE TABLE model_promotions (
    promotion_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    promoted_at timestamptz NOT NULL DEFAULT now(),
    from_week date NOT NULL,
    from_version text,
    to_version text NOT NULL,
    promoted_by text NOT NULL,
    reason text NOT NULL
);

COMMENT ON TABLE model_promotions IS 'Which model version was champion from when on, and why.';
COMMENT ON COLUMN model_promotions.promotion_id IS 'Number of the promotion, in order.';
COMMENT ON COLUMN model_promotions.promoted_at IS 'When it was made.';
COMMENT ON COLUMN model_promotions.from_week IS 'The first week for which the version is in force.';
COMMENT ON COLUMN model_promotions.from_version IS 'The version that was champion before; NULL for the first one.';
COMMENT ON COLUMN model_promotions.to_version IS 'The version that became champion.';
COMMENT ON COLUMN model_promotions.promoted_by IS 'Who did it.';
COMMENT ON COLUMN model_promotions.reason IS 'Why.';

COMMENT ON TABLE schema_migrations IS 'The files of sql/migrations that made this schema.';
COMMENT ON COLUMN schema_migrations.name IS 'The file.';
COMMENT ON COLUMN schema_migrations.digest IS 'SHA-256 of its text.';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When it was applied.';
