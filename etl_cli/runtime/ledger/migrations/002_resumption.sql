ALTER TABLE etl.runs
    ADD COLUMN heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN partial boolean NOT NULL DEFAULT false,
    ADD COLUMN resumable boolean NOT NULL DEFAULT true,
    ADD COLUMN retry_of bigint REFERENCES etl.runs (run_id) ON DELETE SET NULL;
COMMENT ON COLUMN etl.runs.heartbeat_at IS 'Renewed while the run lives; a running run with an old one is abandoned';
COMMENT ON COLUMN etl.runs.partial IS 'Of some tables or shards, or with a condition of its own: never resumed';
COMMENT ON COLUMN etl.runs.resumable IS 'False where what was loaded did not pass validation';
COMMENT ON COLUMN etl.runs.retry_of IS 'The failed run whose committed chunks this one took over';

ALTER TABLE etl.tasks
    ADD COLUMN windows jsonb,
    ADD COLUMN shadow text,
    ADD COLUMN rows_inserted bigint,
    ADD COLUMN rows_updated bigint,
    ADD COLUMN rows_deleted bigint,
    ADD COLUMN rows_rejected bigint NOT NULL DEFAULT 0,
    ADD COLUMN checksums jsonb;
COMMENT ON COLUMN etl.tasks.windows IS 'The bounds of each stream, fixed when the run was planned; a resumption keeps them';
COMMENT ON COLUMN etl.tasks.shadow IS 'Schema and name of the table that the rows are loaded into, where it is not the target';
COMMENT ON COLUMN etl.tasks.checksums IS 'By stream and column: what the source summed, and what the sink did';

ALTER TABLE etl.chunks
    ADD COLUMN number integer NOT NULL DEFAULT 0,
    ADD COLUMN rows_read bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_inserted bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_updated bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_deleted bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_rejected bigint NOT NULL DEFAULT 0,
    ADD COLUMN checksums jsonb;
COMMENT ON COLUMN etl.chunks.number IS 'Counted from 0 in its stream: the highest one holds the place to go on from';

CREATE TABLE etl.watermarks (
    pipeline     text NOT NULL REFERENCES etl.pipelines (name),
    source_table text NOT NULL,
    shard        text NOT NULL,
    cursor       text NOT NULL,
    value        text NOT NULL,
    position     text NOT NULL,
    scope        text NOT NULL,
    run_id       bigint,
    moved_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, source_table, shard)
);
COMMENT ON TABLE etl.watermarks IS 'How far append, upsert and changes have come: moved in the transaction that holds the rows';
COMMENT ON COLUMN etl.watermarks.value IS 'The cursor''s highest value that is safely copied, as the source''s own text at full scale';
COMMENT ON COLUMN etl.watermarks.position IS 'JSON of cursor and key of the last row, after which the next run begins';
COMMENT ON COLUMN etl.watermarks.scope IS 'Of which target, key and condition it tells; it holds for no other';

CREATE TABLE etl.rejects (
    reject_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       bigint NOT NULL,
    source_table text NOT NULL,
    shard        text NOT NULL,
    key          jsonb NOT NULL,
    column_name  text,
    reason       text NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (run_id, source_table, shard) REFERENCES etl.tasks ON DELETE CASCADE
);
CREATE INDEX rejects_by_task ON etl.rejects (run_id, source_table, shard);
COMMENT ON TABLE etl.rejects IS 'Rows that were left out by on_bad_row: reject, recorded with the chunk that they were part of';
