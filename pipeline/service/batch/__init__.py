"""Files of rows over HTTP: upload, jobs, results. `pipeline.orchestration.file_jobs` hands them to Airflow."""
