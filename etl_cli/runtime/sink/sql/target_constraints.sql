SELECT k.conname::text,
       k.contype::text,
       k.conrelid = %(oid)s AS is_own,
       coalesce((SELECT array_agg(a.attname::text ORDER BY place.n)
                 FROM unnest(k.conkey) WITH ORDINALITY AS place(attnum, n)
                 JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = place.attnum), '{}') AS columns
FROM pg_constraint AS k
WHERE (k.conrelid = %(oid)s OR k.confrelid = %(oid)s) AND k.contype <> 'n'
ORDER BY k.conname
