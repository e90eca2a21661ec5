-- To INFORMATION_SCHEMA a vector is what it is stored as: 8 bytes of head, 4 for each dimension.
SELECT s.name AS schema_name, o.name AS table_name, c.name AS column_name, (c.max_length - 8) / 4 AS dimensions
FROM sys.columns AS c
JOIN sys.types AS t ON t.user_type_id = c.user_type_id
JOIN sys.objects AS o ON o.object_id = c.object_id
JOIN sys.schemas AS s ON s.schema_id = o.schema_id
WHERE t.name = 'vector' AND t.is_user_defined = 0
