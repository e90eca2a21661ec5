SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %(oid)s AND contype = 'c' AND convalidated
ORDER BY conname
