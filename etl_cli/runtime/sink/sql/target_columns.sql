SELECT a.attname::text,
       format_type(a.atttypid, a.atttypmod),
       a.attnotnull,
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '' AS has_default,
       a.attidentity::text,
       a.attgenerated::text,
       a.attacl IS NOT NULL OR a.attoptions IS NOT NULL OR a.attcompression <> ''
           OR a.attcollation <> t.typcollation OR a.attstorage <> t.typstorage
           OR coalesce(a.attstattarget, -1) <> -1 AS has_settings,
       col_description(a.attrelid, a.attnum) AS comment
FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
