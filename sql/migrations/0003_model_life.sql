-- The life of a model version: promotions from the gate's verdict on, and versions that were withdrawn.

ALTER TABLE model_promotions
ALTER COLUMN to_version DROP NOT NULL,
ADD COLUMN role text NOT NULL DEFAULT 'champion' CHECK (role IN ('champion', 'challenger')),
ADD COLUMN kind text NOT NULL DEFAULT 'training'
CHECK (kind IN ('training', 'as of', 'promotion', 'rollback', 'by hand')),
ADD COLUMN state text NOT NULL DEFAULT 'completed'
CHECK (state IN ('asked', 'refused', 'rejected', 'begun', 'completed', 'abandoned')),
ADD COLUMN asked_by text NOT NULL DEFAULT 'training',
ADD COLUMN completed_at timestamptz,
ADD COLUMN checks jsonb NOT NULL DEFAULT '[]',
ADD COLUMN repaired text,
ADD COLUMN airflow_run_id text;

UPDATE model_promotions SET completed_at = promoted_at;
UPDATE model_promotions SET kind = 'as of'
WHERE reason LIKE 'trained as of %';

ALTER TABLE model_promotions
ALTER COLUMN role DROP DEFAULT,
ALTER COLUMN kind DROP DEFAULT,
ALTER COLUMN state DROP DEFAULT,
ALTER COLUMN asked_by DROP DEFAULT,
ADD CHECK ((state = 'completed') = (completed_at IS NOT NULL));

COMMENT ON TABLE model_promotions IS
'Every change of champion and challenger, and every promotion that was refused: who, when, from which week on, why.';
COMMENT ON COLUMN model_promotions.promoted_at IS 'When it was asked for.';
COMMENT ON COLUMN model_promotions.from_week IS 'The first week that it counts for.';
COMMENT ON COLUMN model_promotions.from_version IS 'The version that had the role before; NULL when none had.';
COMMENT ON COLUMN model_promotions.to_version IS 'The version that got the role; NULL when it was only taken away.';
COMMENT ON COLUMN model_promotions.promoted_by IS
'Who decided: the approver where approval is configured, else who asked.';
COMMENT ON COLUMN model_promotions.role IS 'champion or challenger.';
COMMENT ON COLUMN model_promotions.kind IS
'training (became champion because there was none); as of (fills weeks before the first champion, gives way to every '
'other kind); promotion; rollback; by hand (the alias was moved in MLflow, which was found later).';
COMMENT ON COLUMN model_promotions.state IS
'asked (passed the gate, waits for approval or to be carried out); refused (by the gate); rejected (by a person); '
'begun (the alias is about to move); completed; abandoned (the process died before the alias moved).';
COMMENT ON COLUMN model_promotions.asked_by IS 'Who asked for it.';
COMMENT ON COLUMN model_promotions.completed_at IS 'When it was known to be carried out; NULL if it was not.';
COMMENT ON COLUMN model_promotions.checks IS
'The gate''s checks: name, whether it passed, what was measured, the limit, in words.';
COMMENT ON COLUMN model_promotions.repaired IS
'What was amiss with this entry or the alias, and was put right later; NULL when nothing was.';
COMMENT ON COLUMN model_promotions.airflow_run_id IS 'The DAG run in Airflow that made it; NULL when by command.';

CREATE TABLE withdrawn_versions (
    model_version text PRIMARY KEY,
    withdrawn_at timestamptz NOT NULL DEFAULT now(),
    withdrawn_by text NOT NULL,
    reason text NOT NULL
);

COMMENT ON TABLE withdrawn_versions IS
'Model versions that were taken out of production for good: no week that is not published yet is scored with them.';
COMMENT ON COLUMN withdrawn_versions.model_version IS 'The version in the MLflow registry.';
COMMENT ON COLUMN withdrawn_versions.withdrawn_at IS 'When.';
COMMENT ON COLUMN withdrawn_versions.withdrawn_by IS 'Who did it.';
COMMENT ON COLUMN withdrawn_versions.reason IS 'Why.';
