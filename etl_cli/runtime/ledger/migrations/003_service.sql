CREATE TABLE etl.slots (
    pipeline   text NOT NULL REFERENCES etl.pipelines (name),
    due_at     timestamptz NOT NULL,
    entry      integer NOT NULL DEFAULT 0,
    host       text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome    text,
    PRIMARY KEY (pipeline, due_at, entry)
);
COMMENT ON TABLE etl.slots IS 'Due times that a host has taken: a slot runs once, however many hosts serve the pipeline';
COMMENT ON COLUMN etl.slots.outcome IS 'What became of it: the state of its last run, or skipped';

CREATE TABLE etl.requests (
    request_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline     text NOT NULL REFERENCES etl.pipelines (name),
    verb         text NOT NULL,
    arguments    jsonb NOT NULL DEFAULT '{}',
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_at     timestamptz,
    host         text,
    finished_at  timestamptz,
    answer       text
);
CREATE INDEX requests_open ON etl.requests (pipeline, request_id) WHERE taken_at IS NULL;
COMMENT ON TABLE etl.requests IS 'What manage-pipeline asks of the service; NOTIFY etl_requests tells it to look';

ALTER TABLE etl.runs
    ADD COLUMN slot timestamptz,
    ADD COLUMN request_id bigint REFERENCES etl.requests (request_id) ON DELETE SET NULL;
COMMENT ON COLUMN etl.runs.slot IS 'The due time that the run is of';
