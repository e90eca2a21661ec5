-- Columns of a table that draw from a sequence which this user may set.
SELECT a.attname::text, s.name
FROM pg_attribute AS a,
     pg_get_serial_sequence(%(table)s, a.attname::text) AS s (name)
WHERE a.attrelid = to_regclass(%(table)s)
  AND a.attnum > 0
  AND NOT a.attisdropped
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
  AND s.name IS NOT NULL
  AND has_sequence_privilege(s.name, 'UPDATE')
