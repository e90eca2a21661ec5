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


def test_a_step_that_is_unknown_is_refused_and_a_parameter_that_nothing_takes_is_told(
    own: Callable[[str], PipelineDirectory], sink: SinkDatabase
) -> None:
    directory = own("""
@pipeline.step
def greet(who="nobody"):
    return who
""")
    refused = directory.cli("run", "--step", "great")
    assert (refused.code, refused.out) == (2, "")
    assert "no step is named great: the steps are greet" in refused.err
    told = directory.cli("run", "--param", "hwo=world", "--param", "who=me")
    assert told.code == 0, told.err
    assert "parameter hwo: no step takes it, and config.yaml does not name it" in told.out
    assert "parameter who" not in told.out
    assert rows_of(sink, "SELECT state, result FROM etl.steps") == [("succeeded", "me")]


def test_a_watermark_is_set_only_for_what_is_there(own: Callable[[str], PipelineDirectory], sink: SinkDatabase) -> None:
    directory = own("""
@pipeline.extract("items", key="id", cursor="id", fan_out=["a", "b"], member_column="account")
def items(member):
    yield {"id": 1}

@pipeline.extract("whole", key="id", mode="replace")
def whole():
    yield {"id": 1}
""")
    put = ("--value", "7", "--yes")
    for options, told in [
        (("--table", "itmes", "--member", "a"), "itmes is none of the pipeline's tables and own sources"),
        (("--table", "items", "--member", "c"), "items has no member c: see `fan_out` in etl.py"),
        (("--table", "items"), "no member of items has a watermark yet: name one: --member NAME"),
        (("--table", "whole"), "whole has mode replace and no cursor that goes on: there is nothing to set"),
    ]:
        refused = directory.state("set", *options, *put)
        assert (refused.code, refused.out) == (2, "")
        assert told in refused.err
    assert directory.state("set", "--table", "items", "--member", "a", *put).code == 0
    assert rows_of(sink, "SELECT source_table, shard, value FROM etl.watermarks") == [("items", "a", "7")]


def test_a_table_that_two_write_is_told_before_a_run(own: Callable[..., PipelineDirectory], sink: SinkDatabase) -> None:
    directory = own("""
@pipeline.extract("items", key="id")
def items():
    yield {"id": 1}

@pipeline.extract("again", key="id", target="items")
def again():
    yield {"id": 1}
""")
    told = '@pipeline.extract("again") and @pipeline.extract("items") would share the target public.items'
    for verb in ("check", "run"):
        refused = directory.cli(verb)
        assert (refused.code, told in refused.out + refused.err) == (1, True)
    (directory.path / "etl.py").write_text((directory.path / "etl.py").read_text().replace(', target="items"', ""))
    assert directory.cli("run").code == 0
    directory.change(name="other", id="0123abce")
    done = directory.cli("check")
    assert done.code == 0
    assert "program: again -> public.again" in done.out
    assert "note    sink: pipeline test has written public.items as well" in done.out
