-- Has 40 % of all INSERT and COPY statements into tables of this example fail: one half as a conflict between
-- transactions, the other half with the connection. As a superuser: psql -f sink_failures.sql
-- It ends with: DROP FUNCTION fail_at_random, fail_in_new_table CASCADE
CREATE SEQUENCE IF NOT EXISTS failures_injected;
GRANT SELECT ON SEQUENCE failures_injected TO PUBLIC;

CREATE OR REPLACE FUNCTION fail_at_random() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF random() < 0.4 THEN
        PERFORM nextval('failures_injected');  -- keeps its count where the transaction is rolled back
        IF random() < 0.5 THEN
            RAISE 'injected: could not serialize access' USING ERRCODE = 'serialization_failure';
        END IF;
        PERFORM pg_terminate_backend(pg_backend_pid());
        PERFORM pg_sleep(1);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION fail_in_new_table() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    created record;
BEGIN
    FOR created IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP
        IF created.schema_name IN ('public', 'etl') AND created.object_identity LIKE '%.%users%' THEN
            EXECUTE format('CREATE TRIGGER fail_at_random BEFORE INSERT ON %s'
                ' FOR EACH STATEMENT EXECUTE FUNCTION public.fail_at_random()', created.objid::regclass);
        END IF;
    END LOOP;
END
$$;

DROP EVENT TRIGGER IF EXISTS fail_in_new_table;
CREATE EVENT TRIGGER fail_in_new_table ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS')
    EXECUTE FUNCTION fail_in_new_table();
