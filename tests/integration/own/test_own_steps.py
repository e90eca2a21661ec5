"""Steps beside own sources."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory


def test_a_file_of_sql_is_tried_again(own: Callable[[str], PipelineDirectory], sink: SinkDatabase) -> None:
    with sink.connect() as connection:
        connection.execute("CREATE SEQUENCE tries; CREATE TABLE said (what text)")
    directory = own('pipeline.sql("say.sql", retries=3, retry_delay="10ms")')
    (directory.path / "sql").mkdir()
    (directory.path / "sql" / "say.sql").write_text(
        "INSERT INTO said VALUES ('once');"
        "DO $$ BEGIN IF nextval('tries') < 3 THEN RAISE 'no' USING ERRCODE = '40001'; END IF; END $$"
    )
    done = directory.cli("run")
    assert done.code == 0, done.err
    assert rows_of(sink, "SELECT * FROM said") == [("once",)]
    assert rows_of(sink, "SELECT tries FROM etl.steps") == [(3,)]
