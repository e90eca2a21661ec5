SELECT c.oid::bigint AS oid,
       c.relkind::text,
       pg_catalog.pg_get_userbyid(c.relowner) = current_user AS is_owner,
       obj_description(c.oid, 'pg_class') AS comment,
       c.relpersistence::text,
       c.reloptions IS NOT NULL OR c.reltablespace <> 0 OR c.relreplident <> 'd' OR c.reloftype <> 0
           OR EXISTS (SELECT FROM pg_class AS toast WHERE toast.oid = c.reltoastrelid AND toast.reloptions IS NOT NULL)
           AS has_settings,
       c.relrowsecurity OR c.relforcerowsecurity AS has_row_security,
       EXISTS (SELECT FROM pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent)) AS is_inherited,
       EXISTS (SELECT FROM pg_publication_tables AS p WHERE p.schemaname = n.nspname AND p.tablename = c.relname)
           AS is_published,
       EXISTS (SELECT FROM pg_seclabel AS l WHERE l.classoid = 'pg_class'::regclass AND l.objoid = c.oid)
           AS has_security_label,
       -- an UPDATE or DELETE that is published must say by a key which row it means
       EXISTS (SELECT FROM pg_publication_tables AS p
               JOIN pg_publication AS b ON b.pubname = p.pubname
               WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND (b.pubupdate OR b.pubdelete))
           AND CASE c.relreplident
                   WHEN 'f' THEN false
                   WHEN 'n' THEN true
                   WHEN 'i' THEN NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisreplident)
                   ELSE NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
               END AS lacks_identity
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s
