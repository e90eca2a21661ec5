SELECT k.conname::text,
       k.contype::text,
       k.conrelid = %(oid)s AS is_own,
       coalesce((SELECT array_agg(a.attname::text ORDER BY place.n)
                 FROM unnest(k.conkey) WITH ORDINALITY AS place(attnum, n)
                 JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = place.attnum), '{}') AS columns,
       k.condeferrable OR coalesce(
           (SELECT i.indnatts <> i.indnkeyatts OR i.indisclustered OR c.reloptions IS NOT NULL OR c.reltablespace <> 0
            FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indexrelid = k.conindid AND k.conrelid = %(oid)s), false) AS has_settings,
       obj_description(k.oid, 'pg_constraint') AS comment,
       CASE WHEN k.conrelid = %(oid)s THEN obj_description(k.conindid, 'pg_class') END AS index_comment,
       k.condeferrable AS deferrable
FROM pg_constraint AS k
WHERE (k.conrelid = %(oid)s OR k.confrelid = %(oid)s) AND k.contype <> 'n'
ORDER BY k.conname
