SELECT s.name AS schema_name, o.name AS table_name, c.name AS column_name,
       CAST(p.value AS nvarchar(4000)) AS comment
FROM sys.extended_properties AS p
JOIN sys.objects AS o ON o.object_id = p.major_id
JOIN sys.schemas AS s ON s.schema_id = o.schema_id
LEFT JOIN sys.columns AS c ON c.object_id = p.major_id AND c.column_id = p.minor_id
WHERE p.class = 1 AND p.name = 'MS_Description'
