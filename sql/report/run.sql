-- The run's record: model, lineage, sources, expectations, stages.
SELECT
    run_id,
    airflow_run_id,
    published_at,
    model_version,
    model_reason,
    trained_after_cutoff,
    bundle_digest,
    routing,
    snapshot_digest,
    code_version,
    config_digest,
    source_lines,
    source_rows,
    rejects,
    subjects,
    predicted,
    quarantined,
    stage_seconds,
    stage_peak_mib,
    validation,
    sources
FROM prediction_runs
WHERE run_id = $run_id
