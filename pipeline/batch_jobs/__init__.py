"""The scoring of one file of feature rows: the stages of the DAG `score_file`, beside the weekly run.

plan → read → validate → score (one mapped task per shard) → finish

No week and no subject is needed: a row is named by its number in the file, and the results have one line for each row,
in the file's order. Everything of a job lies in `files/<job id>/` of the home (`places`), and nothing of it comes into
the warehouse. The service and the command `score` hand files in, and read results from there (`results`).
"""
