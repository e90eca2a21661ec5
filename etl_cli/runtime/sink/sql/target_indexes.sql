-- `head` is what pg_get_indexdef writes before the method: names may hold any word, so it is not searched for.
SELECT c.relname::text,
       pg_get_indexdef(i.indexrelid),
       c.reloptions IS NOT NULL OR c.reltablespace <> 0 OR i.indisclustered OR i.indisreplident OR NOT i.indisvalid
           AS has_settings,
       i.indisunique,
       'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(c.relname)
           || ' ON ' || quote_ident(n.nspname) || '.' || quote_ident(t.relname) AS head,
       obj_description(i.indexrelid, 'pg_class') AS comment
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_class AS t ON t.oid = i.indrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE i.indrelid = %(oid)s
  AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
ORDER BY c.relname
