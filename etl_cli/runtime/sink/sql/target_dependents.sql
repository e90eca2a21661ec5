-- Everything that would be lost or broken if the table were dropped, its own parts left out:
-- indexes, constraints, defaults, toast and row type go with it or are looked at on their own.
WITH parts AS (
    SELECT 'pg_class'::regclass AS classid, c.oid AS objid FROM pg_class AS c WHERE c.oid = %(oid)s
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid FROM pg_type AS t
    JOIN pg_class AS c ON t.oid = c.reltype OR t.typelem = c.reltype
    WHERE c.oid = %(oid)s
)
SELECT
       coalesce(view.relkind::text, '-') AS view_kind,
       coalesce(view.oid::bigint, 0) AS view_oid,
       pg_describe_object(d.classid, d.objid, 0) AS description,
       bool_and(coalesce(pg_has_role(view.relowner, 'USAGE'), true)) AS is_ours,
       array_agg(shown.attname::text) FILTER (WHERE d.refobjsubid > 0) AS columns
FROM pg_depend AS d
JOIN parts AS p ON p.classid = d.refclassid AND p.objid = d.refobjid
LEFT JOIN pg_attribute AS shown ON shown.attrelid = %(oid)s AND shown.attnum = d.refobjsubid
LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_class AS view ON view.oid = r.ev_class AND view.oid <> %(oid)s
WHERE d.deptype <> 'i'
  AND d.classid NOT IN ('pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_type'::regclass)
  AND NOT (d.classid = 'pg_class'::regclass
           AND EXISTS (SELECT FROM pg_class AS own WHERE own.oid = d.objid AND own.relkind IN ('i', 't')))
  AND NOT EXISTS (SELECT FROM pg_trigger AS t
                  WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND t.tgisinternal)
GROUP BY 1, 2, 3
ORDER BY description
