"""Airflow: stages as tasks, DAG runs for the command, and the environment they need."""
