"""Airflow: stages as tasks, the record of a run, DAG runs for commands, approval of promotions."""
