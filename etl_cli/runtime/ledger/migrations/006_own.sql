ALTER TABLE etl.chunks ADD COLUMN written jsonb;
COMMENT ON COLUMN etl.chunks.written IS 'By own writer of etl.py: what it gave back for the last batch, as the place to go on from';
