-- Whether autovacuum works on the table now. It has no user, see older_snapshots.sql.
SELECT EXISTS (
    SELECT FROM pg_locks AS l
    JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.relation = %(oid)s AND l.granted AND a.usesysid IS NULL AND a.datname = current_database()
)
