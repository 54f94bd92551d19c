"""The scoring of one file of feature rows: the stages of the DAG `score_file`, which runs beside the weekly run.

file_plan → file_rows → row_validation → row_scoring (one mapped task per shard) → completion

A job has no week and no subjects. A row is identified by its number in the file, and the results have one line for
each row, in the file's order. A job keeps everything in `files/<job id>/` of the home (`places`) and writes nothing to
the warehouse. The service and the command `score` hand files in and read the results (`result_formats`).
"""
