SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text, pg_get_viewdef(c.oid), c.reloptions
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%(oids)s::oid[])
ORDER BY c.oid
