-- Sessions of this database whose snapshot may be older than the transaction %(xid)s: such a reader
-- would find the new table by its name, but not the rows in it. Autovacuum reads no table by name; it is
-- known by having no user, for its kind is hidden from users without special rights.
SELECT count(*)
FROM pg_stat_activity AS a
WHERE a.datname = current_database()
  AND a.pid <> pg_backend_pid()
  AND a.usesysid IS NOT NULL
  AND a.application_name NOT LIKE %(own)s
  AND a.backend_xmin IS NOT NULL
  AND age(a.backend_xmin) >= age(%(xid)s::xid)
