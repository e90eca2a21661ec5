-- Sessions of this database whose snapshot may be older than the transaction %(xid)s: such a reader
-- would find the new table by its name, but not the rows in it. Autovacuum and other background work
-- reads no table by name; where the kind of a session may not be seen, it counts as a reader.
SELECT count(*)
FROM pg_stat_activity AS a
WHERE a.datname = current_database()
  AND a.pid <> pg_backend_pid()
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND a.application_name NOT LIKE %(own)s
  AND a.backend_xmin IS NOT NULL
  AND age(a.backend_xmin) >= age(%(xid)s::xid)
