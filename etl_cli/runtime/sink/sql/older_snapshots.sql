-- Sessions of this database whose snapshot may be older than the transaction %(xid)s: such a reader
-- would find the new table by its name, but not the rows in it.
SELECT count(*)
FROM pg_stat_activity AS a
WHERE a.datname = current_database()
  AND a.pid <> pg_backend_pid()
  AND a.backend_xmin IS NOT NULL
  AND age(a.backend_xmin) >= age(%(xid)s::xid)
