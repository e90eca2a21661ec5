SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version,
       CAST(SERVERPROPERTY('EngineEdition') AS int) AS engine_edition,
       DB_NAME() AS database_name,
       d.snapshot_isolation_state,
       d.is_read_committed_snapshot_on,
       d.collation_name
FROM sys.databases AS d
WHERE d.name = DB_NAME()
