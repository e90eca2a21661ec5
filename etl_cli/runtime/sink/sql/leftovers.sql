-- Tables beside targets, by the run in their name, that no run needs any more.
SELECT n.nspname, c.relname, r.run_id
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN etl.runs AS r ON r.run_id = (regexp_match(c.relname, '__etl_([0-9]{1,18})_[0-9]+$'))[1]::bigint
WHERE c.relkind = 'r'
  AND pg_get_userbyid(c.relowner) = current_user
  AND r.pipeline = %(pipeline)s
  AND r.state NOT IN ('queued', 'running')
  AND NOT (n.nspname || '.' || c.relname = ANY (%(keep)s))
  AND NOT EXISTS (SELECT FROM etl.tasks AS t JOIN etl.runs AS active USING (run_id)
                  WHERE t.shadow = n.nspname || '.' || c.relname AND active.state IN ('queued', 'running'))
  AND (r.finalized_at < clock_timestamp() - make_interval(secs => %(age)s)
       OR NOT EXISTS (SELECT FROM etl.tasks AS t
                      WHERE t.shadow = n.nspname || '.' || c.relname AND NOT t.source_table = ANY (%(tables)s)))
