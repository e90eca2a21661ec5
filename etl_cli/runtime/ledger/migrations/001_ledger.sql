CREATE TABLE etl.pipelines (
    name       text PRIMARY KEY,
    id         text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE etl.pipelines IS 'Who may use a name in this sink: a second id under a name is refused';

CREATE TABLE etl.runs (
    run_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline     text NOT NULL REFERENCES etl.pipelines (name),
    state        text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    requested_by text NOT NULL,
    attempt      integer NOT NULL DEFAULT 1,
    fingerprint  text,
    host         text NOT NULL,
    pid          integer NOT NULL,
    version      text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempted_at timestamptz,
    finalized_at timestamptz,
    rows_read    bigint NOT NULL DEFAULT 0,
    rows_loaded  bigint NOT NULL DEFAULT 0,
    bytes        bigint NOT NULL DEFAULT 0,
    error        text
);
CREATE INDEX runs_by_pipeline ON etl.runs (pipeline, run_id DESC);
COMMENT ON COLUMN etl.runs.fingerprint IS 'Of configuration and source schema; a run is resumed only with its own';
COMMENT ON COLUMN etl.runs.bytes IS 'Binary COPY bytes sent to the sink';

CREATE TABLE etl.tasks (
    run_id       bigint NOT NULL REFERENCES etl.runs (run_id) ON DELETE CASCADE,
    source_table text NOT NULL,
    shard        text NOT NULL,
    target       text NOT NULL,
    mode         text NOT NULL,
    state        text NOT NULL CHECK (state IN ('queued', 'running', 'loaded', 'applied', 'failed', 'cancelled')),
    rows_counted bigint,
    rows_read    bigint NOT NULL DEFAULT 0,
    rows_loaded  bigint NOT NULL DEFAULT 0,
    bytes        bigint NOT NULL DEFAULT 0,
    isolation    text,
    attempted_at timestamptz,
    finalized_at timestamptz,
    note         text,
    error        text,
    PRIMARY KEY (run_id, source_table, shard)
);
COMMENT ON COLUMN etl.tasks.rows_counted IS 'What the source counted; NULL where it was not asked or was written meanwhile';

CREATE TABLE etl.chunks (
    run_id       bigint NOT NULL,
    source_table text NOT NULL,
    shard        text NOT NULL,
    stream       integer NOT NULL,
    after_key    text NOT NULL,
    last_key     text,
    attempt      integer NOT NULL,
    rows         bigint NOT NULL DEFAULT 0,
    bytes        bigint NOT NULL DEFAULT 0,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    committed_at timestamptz,
    PRIMARY KEY (run_id, source_table, shard, stream, after_key),
    FOREIGN KEY (run_id, source_table, shard) REFERENCES etl.tasks ON DELETE CASCADE
);
COMMENT ON TABLE etl.chunks IS 'One row for each chunk, written in the transaction that holds its rows';
COMMENT ON COLUMN etl.chunks.after_key IS 'JSON of the last key before this chunk, empty for the first: two attempts cannot both commit it';
