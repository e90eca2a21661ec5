SELECT s.name AS schema_name, o.name AS table_name, i.name AS index_name, i.type AS index_type,
       i.is_primary_key, c.name AS column_name, ic.is_descending_key
FROM sys.indexes AS i
JOIN sys.objects AS o ON o.object_id = i.object_id
JOIN sys.schemas AS s ON s.schema_id = o.schema_id
JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id
JOIN sys.columns AS c ON c.object_id = ic.object_id AND c.column_id = ic.column_id
WHERE i.is_unique = 1 AND i.has_filter = 0 AND i.is_disabled = 0 AND ic.key_ordinal > 0
ORDER BY s.name, o.name, i.index_id, ic.key_ordinal
