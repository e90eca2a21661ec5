ALTER TABLE etl.pipelines
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN paused_by text;
COMMENT ON COLUMN etl.pipelines.paused_at IS 'Since when slots are not run, but counted; NULL = they are run';
