SELECT s.name AS schema_name, o.name AS table_name, SUM(p.rows) AS row_estimate
FROM sys.partitions AS p
JOIN sys.objects AS o ON o.object_id = p.object_id
JOIN sys.schemas AS s ON s.schema_id = o.schema_id
WHERE p.index_id IN (0, 1)
GROUP BY s.name, o.name
