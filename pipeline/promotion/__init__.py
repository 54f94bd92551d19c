"""Promotion: how a registered version gets the role of champion or challenger, and loses it.

gate → approve → promote are tasks of `train_model` and the command `barometer promote`; `rollback` undoes a promotion.
Beside them: `evidence` (what the gate looks at), `checks` (what it asks), `overview` (what is in production, and why).
What happened stands in `pipeline.models.history`.
"""
