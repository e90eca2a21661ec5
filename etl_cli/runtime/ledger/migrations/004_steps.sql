CREATE TABLE etl.steps (
    run_id      bigint NOT NULL REFERENCES etl.runs (run_id) ON DELETE CASCADE,
    step        text NOT NULL,
    place       integer NOT NULL,
    state       text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'skipped', 'failed', 'cancelled')),
    tries       integer NOT NULL DEFAULT 0,
    began_at    timestamptz,
    ended_at    timestamptz,
    result      jsonb,
    error       text,
    PRIMARY KEY (run_id, step)
);
COMMENT ON TABLE etl.steps IS 'The steps of a run that has others than the copy, in their order';
COMMENT ON COLUMN etl.steps.result IS 'What the step gave back, for the steps that take it; null where it gave nothing';

ALTER TABLE etl.runs ADD COLUMN params jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN etl.runs.params IS 'The parameters that the run was given';
