"""Promotion: how a registered version becomes champion or challenger, and how it loses that role.

gate → approve → promote are tasks of the DAG `train_model` and steps of the command `barometer promote`; `rollback`
undoes a promotion. The gate uses `gate_evidence` (what it judges by) and `gate_checks`. `overview` shows what is in
production and why, and `comparison` how champion and challenger did. The history is in `pipeline.models.role_history`.
"""
