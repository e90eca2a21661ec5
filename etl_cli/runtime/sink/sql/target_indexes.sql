SELECT c.relname::text,
       pg_get_indexdef(i.indexrelid),
       c.reloptions IS NOT NULL OR i.indisclustered OR i.indisreplident OR NOT i.indisvalid AS has_settings
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = %(oid)s
  AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
ORDER BY c.relname
