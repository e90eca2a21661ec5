-- Types that only an extension brings, as this session spells them.
SELECT t.typname::text, format_type(t.oid, NULL)
FROM pg_extension AS e
JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
WHERE (e.extname, t.typname) IN (('postgis', 'geometry'), ('postgis', 'geography'), ('vector', 'vector'))
