"""Airflow: stages as tasks, the record of a run, DAG runs for commands and files of rows, approval of promotions."""
